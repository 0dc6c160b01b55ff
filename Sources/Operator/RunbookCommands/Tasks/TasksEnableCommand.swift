import AgentModel
import ArgumentParser

struct TasksEnableCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable", abstract: "Put a disabled task back.",
        discussion: """
            EXAMPLE
              runbook tasks enable 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
            """)

    @OptionGroup var task: TaskArgument

    func run() async throws {
        let (client, path) = try task.find()
        try await client.patch(path, ["enabled": true])
    }
}
