import AgentModel
import ArgumentParser
import CommandOutput

struct RunsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List runs, the newest first.",
        discussion: """
            EXAMPLE
              runbook runs list --limit 20
            """)

    @Option(name: .long, help: "Only those of this host.")
    var agent: String?

    @Option(name: .long, help: "Only those of this task.")
    var task: String?

    @Option(name: .long, help: "Only those that ended so, such as failed.")
    var status: String?

    @Option(name: .long, help: "How many at most.")
    var limit = 50

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard limit > 0 else { throw ValidationError("--limit is a number above 0") }
    }

    func run() async throws {
        let client = try connection.connect()
        var query: [String: String] = [:]
        if let agent { query["agent"] = try await client.agent(agent).content.id }
        if let task { query["task"] = task }
        if let status { query["status"] = status }
        try output.renderer.print(
            try await client.all("runs", query, atMost: limit, as: Document<RunRow>.self))
    }
}
