import AgentModel
import ArgumentParser
import CommandOutput

struct TasksCreateCommand: AsyncParsableCommand {
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
