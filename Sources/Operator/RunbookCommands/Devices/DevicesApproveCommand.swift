import AgentModel
import ArgumentParser
import CommandOutput

struct DevicesApproveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Let a host in, as a new agent or as one that is there.",
        discussion: """
            EXAMPLE
              runbook devices approve WDJB-MJHT --name kitchen
            """)

    @Argument(help: "The code that the host shows.")
    var code: String

    @Option(name: .long, help: "The name of the agent.")
    var name: String?

    @Option(name: .long, help: "The name or id of an agent that is there.")
    var agent: String?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let client = try connection.connect()
        var choice: [String: JSONValue] = [:]
        if let name { choice["name"] = .string(name) }
        if let agent { choice["agent_id"] = .string(try await client.agent(agent).content.id) }
        let data = try await client.post(
            "devices/\(AdministrationClient.segment(code))/approve", .object(choice))
        let approved: Document<AgentRow> = try client.value(data)
        try output.renderer.print([approved])
    }
}
