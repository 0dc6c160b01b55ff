import ArgumentParser

struct OutboxCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outbox", abstract: "Inspect, retry or discard results that are not delivered.",
        discussion: """
            EXAMPLE
              runbook-agent outbox list
            """,
        subcommands: [OutboxListCommand.self, OutboxRetryCommand.self, OutboxDiscardCommand.self])
}
