import ArgumentParser
import CommandOutput

struct DevicesListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the codes that hosts show now.",
        discussion: """
            EXAMPLE
              runbook devices list
            """)

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try output.renderer.print(try await connection.connect().all("devices", as: Document<DeviceRow>.self))
    }
}
