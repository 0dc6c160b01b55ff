import ArgumentParser

struct DeviceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device", abstract: "Approve or deny hosts that want to join.",
        discussion: """
            EXAMPLE
              runbook-backend device list --data ./backend-data
            """,
        subcommands: [DeviceListCommand.self, DeviceApproveCommand.self, DeviceDenyCommand.self])
}
