import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct PluginsPublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish", abstract: "Publish a script as a plugin, and print its id.",
        discussion: """
            EXAMPLE
              runbook plugins publish disk.py --name Disk --command usage=disk_usage --command free
            """)

    @Argument(help: "The script: Python with a class Plugin.")
    var script: String

    @Option(name: .long, help: "Its name; without, the file's.")
    var name: String?

    @Option(name: .long, help: "Its version.")
    var version: String?

    @Option(name: .long, help: "Its id; without, a new one.")
    var id: String?

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "A command and the method that it runs, where that is called otherwise.", valueName: "name[=method]"))
    var command: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let client = try connection.connect()
        var commands: [String: JSONValue] = [:]
        for text in command {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first, !name.isEmpty else {
                throw ValidationError("--command takes NAME or NAME=METHOD")
            }
            commands[name] = .string(parts.last ?? name)
        }
        var body: [String: JSONValue] = [
            "name": .string(name ?? URL(filePath: script).deletingPathExtension().lastPathComponent),
            "script": .string(try ScriptFile.text(of: script)), "commands": .object(commands),
        ]
        if let version { body["version"] = .string(version) }
        if let id { body["id"] = .string(id) }
        let published: Document<PluginRow> = try client.value(try await client.post("plugins", .object(body)))
        print(output.json ? try ListRenderer.json(published.raw) : published.content.id)
    }
}
