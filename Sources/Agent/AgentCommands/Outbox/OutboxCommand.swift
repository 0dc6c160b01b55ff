import ArgumentParser

struct OutboxCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outbox", abstract: "Look at results that the backend doesn't have, send or discard them.",
        discussion: """
            EXAMPLE
              runbook-agent outbox list
            """,
        subcommands: [OutboxListCommand.self, OutboxRetryCommand.self, OutboxDiscardCommand.self])
}
