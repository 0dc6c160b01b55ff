import ArgumentParser
import Foundation
import Glibc

struct LogoutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout", abstract: "Forget the backend's address and token.",
        discussion: """
            EXAMPLE
              runbook logout
            """)

    func run() throws {
        let path = SavedLogin.path(ProcessInfo.processInfo.environment)
        guard unlink(path) == 0 || errno == ENOENT else {
            throw ClientError.storage(path: path, problem: String(cString: strerror(errno)))
        }
    }
}
