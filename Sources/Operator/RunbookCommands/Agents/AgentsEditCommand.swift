import AgentModel
import ArgumentParser

struct AgentsEditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edit", abstract: "Give a host a name or a team.",
        discussion: """
            An empty text takes it away.

            EXAMPLE
              runbook agents edit 9ab55db0-9bfa-45a6-8280-bb94c6b0fe8d --name kitchen --team house
            """)

    @OptionGroup var host: AgentArgument

    @Option(name: .long, help: "Its name.")
    var name: String?

    @Option(name: .long, help: "Its team.")
    var team: String?

    func run() async throws {
        let (client, agent) = try await host.find()
        var change: [String: JSONValue] = [:]
        if let name { change["name"] = name.isEmpty ? .null : .string(name) }
        if let team { change["team_id"] = team.isEmpty ? .null : .string(team) }
        let id = agent.content.id
        try await client.patch("agents/\(AdministrationClient.segment(id))", .object(change))
    }
}
