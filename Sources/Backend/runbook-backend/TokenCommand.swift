import ArgumentParser

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Manage the administration token.",
        discussion: """
            EXAMPLE
              TOKEN=$(runbook-backend token reset --data ./backend-data)
            """, subcommands: [TokenResetCommand.self])
}
