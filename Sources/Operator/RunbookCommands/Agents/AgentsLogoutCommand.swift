import ArgumentParser

struct AgentsLogoutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout", abstract: "End all logins of a host: it has to log in again.",
        discussion: """
            EXAMPLE
              runbook agents logout kitchen
            """)

    @OptionGroup var host: AgentArgument

    func run() async throws {
        let (client, agent) = try await host.find()
        let id = agent.content.id
        try await client.delete("agents/\(AdministrationClient.segment(id))/tokens")
    }
}
