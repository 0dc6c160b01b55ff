import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct TasksCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tasks", abstract: "Look after what hosts are to run.",
        discussion: """
            EXAMPLE
              runbook tasks create kitchen disk.usage path=/var --cron "0 * * * *"
            """,
        subcommands: [List.self, Show.self, Create.self, Disable.self, Enable.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List tasks, the oldest first.",
            discussion: """
                EXAMPLE
                  runbook tasks list --agent kitchen
                """)

        @Option(name: .long, help: "Only those of this host.")
        var agent: String?

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try connection.connect()
            var query: [String: String] = [:]
            if let agent { query["agent"] = try await client.agent(agent).content.id }
            try output.renderer.print(try await client.all("tasks", query, as: Document<TaskRow>.self))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Show a task.",
            discussion: """
                EXAMPLE
                  runbook tasks show 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
                """)

        @Argument(help: "The task's id.")
        var task: String

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try connection.connect()
            let found: Document<TaskRow> = try client.value(
                try await client.get("tasks/\(AdministrationClient.segment(task))"))
            if output.json { return print(try ListRenderer.json(found.raw)) }
            let (fields, task) = (Fields(), found.content)
            fields.print("id", task.id)
            fields.print("agent", task.agentID)
            fields.print("command", task.command)
            fields.print("schedule", task.cron ?? "once")
            fields.print("arguments", task.arguments)
            fields.print("state", task.isEnabled ? "enabled" : "disabled")
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create", abstract: "Create a task, once or on a schedule.",
            discussion: """
                The command and its arguments are written as for "runbook run".

                EXAMPLE
                  runbook tasks create kitchen disk.usage path=/var --cron "0 * * * *"
                """)

        @Argument(help: "The host's name or id.")
        var agent: String

        @Argument(help: "The command.")
        var command: String

        @Argument(help: "name=value for each argument.")
        var words: [String] = []

        @Option(name: .long, help: ArgumentHelp("All arguments as a JSON object.", valueName: "json"))
        var arguments: String?

        @Option(name: .long, help: "When to run it; without, once.")
        var cron: String?

        @Option(name: .long, help: "The task's id; without, a new one.")
        var id: String?

        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try connection.connect()
            var body: [String: JSONValue] = [
                "agent": .string(agent), "command": .string(command),
                "arguments": .string(try CommandArguments.text(of: words, json: arguments)),
            ]
            if let cron { body["cron"] = .string(cron) }
            if let id { body["id"] = .string(id) }
            let created: Document<TaskRow> = try client.value(try await client.post("tasks", .object(body)))
            print(output.json ? try ListRenderer.json(created.raw) : created.content.id)
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "disable", abstract: "Take a task off its host until it is enabled again.",
            discussion: """
                EXAMPLE
                  runbook tasks disable 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
                """)

        @Argument(help: "The task's id.")
        var task: String

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            try await connection.connect().patch(
                "tasks/\(AdministrationClient.segment(task))", ["enabled": false])
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "enable", abstract: "Put a disabled task back.",
            discussion: """
                EXAMPLE
                  runbook tasks enable 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
                """)

        @Argument(help: "The task's id.")
        var task: String

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            try await connection.connect().patch(
                "tasks/\(AdministrationClient.segment(task))", ["enabled": true])
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Delete a task; its runs stay.",
            discussion: """
                EXAMPLE
                  runbook tasks delete 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
                """)

        @Argument(help: "The task's id.")
        var task: String

        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            try await connection.connect().delete("tasks/\(AdministrationClient.segment(task))")
        }
    }
}
