import ArgumentParser

struct DevicesDenyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deny", abstract: "Refuse a host.",
        discussion: """
            EXAMPLE
              runbook devices deny WDJB-MJHT
            """)

    @Argument(help: "The code that the host shows.")
    var code: String

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await connection.connect().post("devices/\(AdministrationClient.segment(code))/deny")
    }
}
