import ArgumentParser
import CommandOutput

struct TasksShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a task.",
        discussion: """
            EXAMPLE
              runbook tasks show 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
            """)

    @OptionGroup var task: TaskArgument

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (client, path) = try task.find()
        let found: Document<TaskRow> = try client.value(
            try await client.get(path))
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
