import AgentModel
import ArgumentParser
import CommandOutput
import PluginStore

struct CommandCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "command", abstract: "Inspect the commands that tasks can name.",
        discussion: """
            EXAMPLE
              runbook-agent command list
            """,
        subcommands: [CommandListCommand.self])
}

struct CommandListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List every command and the method it runs.",
        discussion: """
            STATE is "ready", "ambiguous" if two plugins claim the name, or the error code of the plugin
            or of the function.

            EXAMPLE
              runbook-agent command list --json
            """)

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let entries = try await StoredPlugins.ifPresent(configurationOptions)?.entries() ?? []
        let claims = entries.flatMap { entry in
            (entry.document?.commands ?? [:]).map { name, command in (name: name, command: command, entry: entry) }
        }
        let counts = Dictionary(grouping: claims, by: \.name).mapValues(\.count)
        let rows = claims.map { claim in
            Row(
                command: claim.name, plugin: claim.entry.id.rawValue, function: claim.command.function,
                state: Self.state(of: claim.command, entry: claim.entry, claims: counts[claim.name] ?? 1))
        }
        try output.renderer.print(rows.sorted { ($0.command, $0.plugin) < ($1.command, $1.plugin) })
    }

    private static func state(of command: CommandDocument, entry: StoredPlugins.Entry, claims: Int) -> String {
        if let error = entry.error { return error.code }
        if !command.hasCallableFunction { return "plugin.invalid_function" }
        return claims > 1 ? "ambiguous" : "ready"
    }

    private struct Row: Listable {
        let command: String
        let plugin: String
        let function: String
        let state: String

        static let header = ["COMMAND", "PLUGIN", "FUNCTION", "STATE"]
        var cells: [String] { [command, plugin, function, state] }
    }
}
