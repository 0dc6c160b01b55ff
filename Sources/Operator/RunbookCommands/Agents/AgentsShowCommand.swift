import ArgumentParser
import CommandOutput

struct AgentsShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a host and the commands that it has.",
        discussion: """
            EXAMPLE
              runbook agents show kitchen
            """)

    @OptionGroup var host: AgentArgument

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (client, agent) = try await host.find()
        if output.json { return print(try ListRenderer.json(agent.raw)) }
        let fields = Fields()
        fields.print("name", agent.content.name)
        fields.print("id", agent.content.id)
        fields.print("team", agent.content.teamID)
        fields.print("last seen", agent.content.lastSeenAt ?? "never")
        fields.print("commands", try await client.commands(of: agent.content).joined(separator: "\n"))
    }
}
