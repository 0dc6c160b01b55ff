import AgentModel
import ArgumentParser
import CommandOutput

struct TasksListCommand: AsyncParsableCommand {
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
