import ArgumentParser

struct DeviceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device", abstract: "Hosts that want to join, by the codes that they show.",
        discussion: """
            EXAMPLE
              runbook-backend device list --data ./backend-data
            """,
        subcommands: [DeviceListCommand.self, DeviceApproveCommand.self, DeviceDenyCommand.self])
}
