import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct AgentsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agents", abstract: "Look after the hosts.",
        discussion: """
            EXAMPLE
              runbook agents list
            """,
        subcommands: [List.self, Show.self, Edit.self, Logout.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the hosts, the oldest first.",
            discussion: """
                EXAMPLE
                  runbook agents list --json
                """)

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try output.renderer.print(try await connection.connect().all("agents", as: Document<AgentRow>.self))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Show a host and the commands that it has.",
            discussion: """
                EXAMPLE
                  runbook agents show kitchen
                """)

        @Argument(help: "The host's name or id.")
        var agent: String

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try connection.connect()
            let agent = try await client.agent(agent)
            if output.json { return print(try ListRenderer.json(agent.raw)) }
            let fields = Fields()
            fields.print("name", agent.content.name)
            fields.print("id", agent.content.id)
            fields.print("team", agent.content.teamID)
            fields.print("last seen", agent.content.lastSeenAt ?? "never")
            fields.print("commands", try await client.commands(of: agent.content).joined(separator: "\n"))
        }
    }

    struct Edit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "edit", abstract: "Give a host a name or a team.",
            discussion: """
                An empty text takes it away.

                EXAMPLE
                  runbook agents edit 9ab55db0-9bfa-45a6-8280-bb94c6b0fe8d --name kitchen --team house
                """)

        @Argument(help: "The host's name or id.")
        var agent: String

        @Option(name: .long, help: "Its name.")
        var name: String?

        @Option(name: .long, help: "Its team.")
        var team: String?

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let client = try connection.connect()
            var change: [String: JSONValue] = [:]
            if let name { change["name"] = name.isEmpty ? .null : .string(name) }
            if let team { change["team_id"] = team.isEmpty ? .null : .string(team) }
            let id = try await client.agent(agent).content.id
            try await client.patch("agents/\(AdministrationClient.segment(id))", .object(change))
        }
    }

    struct Logout: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "logout", abstract: "End all logins of a host: it has to log in again.",
            discussion: """
                EXAMPLE
                  runbook agents logout kitchen
                """)

        @Argument(help: "The host's name or id.")
        var agent: String

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let client = try connection.connect()
            let id = try await client.agent(agent).content.id
            try await client.delete("agents/\(AdministrationClient.segment(id))/tokens")
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a host with its tasks and logins; its runs stay.",
            discussion: """
                EXAMPLE
                  runbook agents delete kitchen
                """)

        @Argument(help: "The host's name or id.")
        var agent: String

        @Flag(name: .long, help: "Don't ask.")
        var yes = false

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let client = try connection.connect()
            let found = try await client.agent(agent).content
            let id = found.id
            try Screen.confirm("Delete \(found.displayName) with its tasks and logins?", unless: yes)
            try await client.delete("agents/\(AdministrationClient.segment(id))")
        }
    }
}

extension AdministrationClient {
    /// - Parameter text: An agent's id or name.
    /// - Throws: `ClientError.unknownHost`, `.ambiguousHost`.
    func agent(_ text: String) async throws -> Document<AgentRow> {
        do {
            return try value(try await get("agents/\(Self.segment(text))"))
        } catch ClientError.refused("agent.not_found", _) {
            let agents = try await all("agents", as: AgentRow.self)
            let found = try HostChoice.find(text, among: agents)
            return try value(try await get("agents/\(Self.segment(found.id))"))
        }
    }

    /// The full names of an agent's commands.
    func commands(of agent: AgentRow) async throws -> [String] {
        var names: [String] = []
        for id in agent.plugins {
            let plugin: PluginRow = try value(try await get("plugins/\(Self.segment(id))"))
            names += plugin.commands.names
        }
        return names.sorted()
    }
}
