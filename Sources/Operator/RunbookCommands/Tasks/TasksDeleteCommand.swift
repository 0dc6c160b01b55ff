import ArgumentParser

struct TasksDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete a task; its runs stay.",
        discussion: """
            EXAMPLE
              runbook tasks delete 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
            """)

    @OptionGroup var task: TaskArgument

    func run() async throws {
        let (client, path) = try task.find()
        try await client.delete(path)
    }
}
