import ArgumentParser

struct RunsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs", abstract: "Look at what was run.",
        discussion: """
            EXAMPLE
              runbook runs list --agent kitchen --status failed
            """,
        subcommands: [RunsListCommand.self, RunsRunningCommand.self, RunsShowCommand.self, RunsDeleteCommand.self])
}
