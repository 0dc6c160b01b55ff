import ArgumentParser

struct DeviceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device", abstract: "Hosts that want to join, by the codes that they show.",
        subcommands: [DeviceListCommand.self, DeviceApproveCommand.self, DeviceDenyCommand.self])
}
