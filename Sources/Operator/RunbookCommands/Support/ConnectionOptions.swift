import ArgumentParser
import CommandOutput
import Diagnostics
import Foundation
import Glibc

/// Which backend a command speaks to.
struct ConnectionOptions: ParsableArguments {
    @Option(name: .long, help: "The backend's address. By default RUNBOOK_URL, else that of \"runbook login\".")
    var url: String?

    /// - Throws: `ClientError.notLoggedIn`, `.storage`.
    func connect() throws -> AdministrationClient { try AdministrationClient(try login()) }

    private func login() throws(ClientError) -> SavedLogin {
        let environment = ProcessInfo.processInfo.environment
        let saved = try SavedLogin.load(from: SavedLogin.path(environment))
        guard let url = self.url ?? environment["RUNBOOK_URL"] ?? saved?.url else {
            throw .notLoggedIn(missing: "the backend's address")
        }
        // A token is for the backend that it was given for, and no other.
        let savedToken = saved?.url == url ? saved?.token : nil
        guard let token = environment["RUNBOOK_TOKEN"] ?? savedToken else {
            throw .notLoggedIn(missing: "the administration token of \(url)")
        }
        return SavedLogin(url: url, token: token, caFile: environment["RUNBOOK_CA_FILE"] ?? saved?.caFile)
    }

    /// Who does something, for the runs' results and the backend's log, which take 200 bytes.
    static var user: String {
        let whole = "\(NSUserName())@\(ProcessInfo.processInfo.hostName)"
        return whole.utf8.count <= 200 ? whole : NSUserName()
    }
}

/// `--json` of commands that print.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON, one value per line.")
    var json = false

    var renderer: ListRenderer { ListRenderer(isJSON: json, isCut: isatty(STDOUT_FILENO) == 1) }
}
