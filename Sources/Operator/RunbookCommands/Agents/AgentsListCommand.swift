import ArgumentParser
import CommandOutput

struct AgentsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the hosts, the oldest first.",
        discussion: """
            EXAMPLE
              runbook agents list --json
            """)

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try output.renderer.print(try await connection.connect().all("agents", as: Document<AgentRow>.self))
    }
}
