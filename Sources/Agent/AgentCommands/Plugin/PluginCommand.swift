import ArgumentParser

struct PluginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin", abstract: "Inspect, verify and call the plugins on this host.",
        discussion: """
            EXAMPLE
              runbook-agent plugin call ./disk.py disk_usage --arguments '{"path": "/var"}'
            """,
        subcommands: [
            PluginListCommand.self, PluginShowCommand.self, PluginVerifyCommand.self, PluginCallCommand.self,
            PluginReleaseCommand.self,
        ])
}
