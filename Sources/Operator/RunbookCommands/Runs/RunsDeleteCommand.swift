import ArgumentParser

struct RunsDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete a run. A one-off task that it was of stays done.",
        discussion: """
            EXAMPLE
              runbook runs delete 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
            """)

    @Argument(help: "The backend's id of the run.")
    var run: String

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await connection.connect().delete("runs/\(AdministrationClient.segment(run))")
    }
}
