import ArgumentParser

struct DevicesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices", abstract: "Decide on hosts that ask to be let in.",
        discussion: """
            EXAMPLE
              runbook devices approve WDJB-MJHT --name kitchen
            """,
        subcommands: [DevicesListCommand.self, DevicesApproveCommand.self, DevicesDenyCommand.self])
}
