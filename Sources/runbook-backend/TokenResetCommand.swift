import ArgumentParser
import Foundation
import ReferenceBackend

struct TokenResetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset",
        abstract: "Make a new administration token and print it.",
        discussion: """
            The old token is refused from then on. A running server need not be restarted.

            EXAMPLE
              TOKEN=$(runbook-backend token reset --data ./backend-data)
            """)

    @OptionGroup var storage: StorageOptions

    func run() async throws {
        // A mistyped folder must not become a new, empty backend.
        guard FileManager.default.fileExists(atPath: storage.folder.path) else {
            throw ReferenceBackendError.storage(
                path: storage.data, problem: "it isn't there; name the folder that \"serve\" was given with --data")
        }
        let service = try await BackendService.open(dataFolder: storage.folder)
        let token = try await service.resetAdministrationToken()
        try await service.close()
        StandardOutput.write(token)
    }
}
