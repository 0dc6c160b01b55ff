import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct PluginsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugins", abstract: "Publish plugins and say which hosts have them.",
        discussion: """
            EXAMPLE
              runbook plugins publish disk.py --name Disk --command usage
            """,
        subcommands: [List.self, Show.self, Publish.self, Assign.self, Unassign.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the published plugins, the oldest first.",
            discussion: """
                EXAMPLE
                  runbook plugins list
                """)

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try output.renderer.print(try await connection.connect().all("plugins", as: Document<PluginRow>.self))
        }
    }

    struct Show: AsyncParsableCommand {
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

    struct Publish: AsyncParsableCommand {
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

    struct Assign: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "assign", abstract: "Have a host load a plugin.",
            discussion: """
                EXAMPLE
                  runbook plugins assign 9ab56426-f429-4c4b-9755-40c92449f0be kitchen
                """)

        @Argument(help: "The plugin's id.")
        var plugin: String

        @Argument(help: "The names or ids of hosts.")
        var agents: [String]

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let client = try connection.connect()
            for agent in agents {
                let id = AdministrationClient.segment(try await client.agent(agent).content.id)
                try await client.put("agents/\(id)/plugins/\(AdministrationClient.segment(plugin))")
            }
        }
    }

    struct Unassign: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "unassign", abstract: "Have a host unload a plugin.",
            discussion: """
                EXAMPLE
                  runbook plugins unassign 9ab56426-f429-4c4b-9755-40c92449f0be kitchen
                """)

        @Argument(help: "The plugin's id.")
        var plugin: String

        @Argument(help: "The names or ids of hosts.")
        var agents: [String]

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let client = try connection.connect()
            for agent in agents {
                let id = AdministrationClient.segment(try await client.agent(agent).content.id)
                try await client.delete("agents/\(id)/plugins/\(AdministrationClient.segment(plugin))")
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a plugin that no host has.",
            discussion: """
                EXAMPLE
                  runbook plugins delete 9ab56426-f429-4c4b-9755-40c92449f0be
                """)

        @Argument(help: "The plugin's id.")
        var plugin: String

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            try await connection.connect().delete("plugins/\(AdministrationClient.segment(plugin))")
        }
    }
}

/// A plugin's script on this computer.
enum ScriptFile {
    /// - Throws: `ClientError.invalidFile`.
    static func text(of path: String) throws(ClientError) -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw .invalidFile(path: path, problem: "it can't be read")
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw .invalidFile(path: path, problem: "it is not UTF-8")
        }
        return text
    }
}
