import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct PluginsShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a plugin.",
        discussion: """
            EXAMPLE
              runbook plugins show 9ab56426-f429-4c4b-9755-40c92449f0be --script
            """)

    @Argument(help: "The plugin's id.")
    var plugin: String

    @Flag(name: .long, help: "Print its script alone, to the byte.")
    var script = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let client = try connection.connect()
        let found: Document<PluginRow> = try client.value(
            try await client.get("plugins/\(AdministrationClient.segment(plugin))"))
        if script, case .object(let fields) = found.raw, case .string(let text)? = fields["script"] {
            return Screen.write(Data(text.utf8), on: .standardOutput)
        }
        if output.json { return print(try ListRenderer.json(found.raw)) }
        let (fields, plugin) = (Fields(), found.content)
        fields.print("id", plugin.id)
        fields.print("name", plugin.name)
        fields.print("version", plugin.version?.description)
        fields.print("sha512", plugin.hash)
        fields.print("commands", plugin.commands.names.joined(separator: "\n"))
    }
}
