import ArgumentParser
import ReferenceBackend

struct TokenResetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset",
        abstract: "Replace the administration token and print the new one.",
        discussion: """
            The old token stops working at once, and everyone who logged in with it on the device page is logged out. A
            running server need not be restarted.

            EXAMPLE
              TOKEN=$(runbook-backend token reset --data ./backend-data)
            """)

    @OptionGroup var storage: StorageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let token = try await storage.change {
            try await $0.resetAdministrationToken()
        } _: { _ in
            "reset the administration token"
        }
        try output.write(token, json: ["token": token])
    }
}
