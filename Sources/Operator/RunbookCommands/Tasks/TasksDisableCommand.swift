import AgentModel
import ArgumentParser

struct TasksDisableCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable", abstract: "Take a task off its host until it is enabled again.",
        discussion: """
            EXAMPLE
              runbook tasks disable 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
            """)

    @OptionGroup var task: TaskArgument

    func run() async throws {
        let (client, path) = try task.find()
        try await client.patch(path, ["enabled": false])
    }
}
