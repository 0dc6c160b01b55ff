import Agent
import AgentModel
import ArgumentParser
import CommandOutput

struct PluginListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the plugins on this host.",
        discussion: """
            STATE is "verified" if script and file match the SHA-512, "quarantined" if the plugin's code took the agent
            down three times in a row, otherwise an error code.
            ISOLATION is where the plugin's code runs as configured now. "sandbox, whole network" is a sandboxed plugin
            that may reach every port of every host, as scans need. "in-process, was sandbox" is a plugin in the
            agent's process of which an earlier version had a section [plugin:ID] with isolation = sandbox: use a
            section [plugin-name:NAME] instead.

            EXAMPLE
              runbook-agent plugin list --config config.ini --json
            """)

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let entries = try await StoredPlugins.ifPresent(configurationOptions)?.entries() ?? []
        try output.renderer.print(entries.map(Row.init))
    }

    struct Row: Listable {
        let id: String
        let name: String?
        let version: PluginVersion?
        let commands: Int
        let isolation: String
        /// What of the network it may use; null where it isn't sandboxed.
        let network: String?
        /// The section of an earlier version that says sandbox, where this one runs in the agent's process.
        let sandboxLeft: String?
        let state: String

        enum CodingKeys: String, CodingKey {
            case id, name, version, commands, isolation, network, state
            case sandboxLeft = "sandbox_left"
        }

        init(_ entry: StoredPlugins.Entry) {
            id = entry.id.rawValue
            name = entry.document?.name
            version = entry.document?.version
            commands = entry.document?.commands.count ?? 0
            isolation = entry.confinement.isolation
            network = entry.confinement.policy?.network
            sandboxLeft = entry.sandboxLeft?.title
            state = entry.state
        }

        static let header = ["ID", "NAME", "VERSION", "COMMANDS", "ISOLATION", "STATE"]
        var cells: [String] {
            var confinement = network == "full" ? "\(isolation), whole network" : isolation
            if sandboxLeft != nil { confinement += ", was sandbox" }
            return [id, name ?? "", version?.description ?? "", "\(commands)", confinement, state]
        }
    }
}
