import ArgumentParser
import CommandOutput

struct RunsRunningCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "running", abstract: "List runs that are under way for more than a second, the oldest first.",
        discussion: """
            EXAMPLE
              runbook runs running
            """)

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let client = try connection.connect()
        let running: [Document<RunningRow>] = try client.value(try await client.get("running"))
        try output.renderer.print(running)
    }
}
