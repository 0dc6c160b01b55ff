import ArgumentParser

struct PluginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin", abstract: "Look at the plugins on this host, check them, call them.",
        discussion: """
            EXAMPLE
              runbook-agent plugin call ./disk.py disk_usage --arguments '{"path": "/var"}'
            """,
        subcommands: [
            PluginListCommand.self, PluginShowCommand.self, PluginVerifyCommand.self, PluginCallCommand.self,
            PluginReleaseCommand.self,
        ])
}
