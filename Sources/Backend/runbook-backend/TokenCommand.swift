import ArgumentParser

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "The token of the administration API.",
        discussion: """
            EXAMPLE
              TOKEN=$(runbook-backend token reset --data ./backend-data)
            """, subcommands: [TokenResetCommand.self])
}
