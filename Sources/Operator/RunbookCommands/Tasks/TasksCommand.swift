import ArgumentParser

struct TasksCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tasks", abstract: "Look after what hosts are to run.",
        discussion: """
            EXAMPLE
              runbook tasks create kitchen disk.usage path=/var --cron "0 * * * *"
            """,
        subcommands: [
            TasksListCommand.self, TasksShowCommand.self, TasksCreateCommand.self, TasksDisableCommand.self,
            TasksEnableCommand.self, TasksDeleteCommand.self,
        ])
}
