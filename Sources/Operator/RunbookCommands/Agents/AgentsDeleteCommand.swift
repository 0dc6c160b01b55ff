import ArgumentParser

struct AgentsDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete a host with its tasks and logins; its runs stay.",
        discussion: """
            EXAMPLE
              runbook agents delete kitchen
            """)

    @OptionGroup var host: AgentArgument

    @Flag(name: .long, help: "Don't ask.")
    var yes = false

    func run() async throws {
        let (client, agent) = try await host.find()
        let id = agent.content.id
        try Screen.confirm("Delete \(agent.content.displayName) with its tasks and logins?", unless: yes)
        try await client.delete("agents/\(AdministrationClient.segment(id))")
    }
}
