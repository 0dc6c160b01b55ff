import ArgumentParser
import ReferenceBackend

struct DeviceDenyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deny",
        abstract: "Deny the host that shows a code.",
        discussion: """
            EXAMPLE
              runbook-backend device deny WDJB-MJHT --data ./backend-data
            """)

    @Argument(help: "The code, with or without the dash, in either case.")
    var code: String

    @OptionGroup var storage: StorageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let login = try await storage.change {
            try await $0.denyLogin(code)
        } _: { login in
            "denied the code \(login.userCode)"
        }
        try output.write("denied \(login.userCode)", json: login)
    }
}
