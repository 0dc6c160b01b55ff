import ArgumentParser

struct PluginsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugins", abstract: "Publish plugins and say which hosts have them.",
        discussion: """
            EXAMPLE
              runbook plugins publish disk.py --name Disk --command usage
            """,
        subcommands: [
            PluginsListCommand.self, PluginsShowCommand.self, PluginsPublishCommand.self, PluginsAssignCommand.self,
            PluginsUnassignCommand.self, PluginsDeleteCommand.self,
        ])
}
