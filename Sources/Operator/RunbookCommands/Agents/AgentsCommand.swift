import ArgumentParser

struct AgentsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agents", abstract: "Look after the hosts.",
        discussion: """
            EXAMPLE
              runbook agents list
            """,
        subcommands: [
            AgentsListCommand.self, AgentsShowCommand.self, AgentsEditCommand.self, AgentsLogoutCommand.self,
            AgentsDeleteCommand.self,
        ])
}
