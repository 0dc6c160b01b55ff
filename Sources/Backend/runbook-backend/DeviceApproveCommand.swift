import AgentModel
import ArgumentParser
import Diagnostics
import ReferenceBackend

struct DeviceApproveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve",
        abstract: "Approve the host that shows a code.",
        discussion: """
            Without --agent the host becomes a new agent. Approve only a code shown by a host that you, or
            somebody you trust, is logging in right now. No restart of a running server is needed.

            EXAMPLE
              runbook-backend device approve WDJB-MJHT --name kitchen --data ./backend-data
            """)

    @Argument(help: "The code, with or without the dash, in either case.")
    var code: String

    @Option(help: ArgumentHelp("Approve it as this existing agent.", valueName: "id"))
    var agent: String?

    @Option(help: "The agent's name from now on.")
    var name: String?

    @OptionGroup var storage: StorageOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let choice: AgentChoice = agent.map { .existing(id: $0, name: name) } ?? .new(name: name)
        let shown = UserCode(typed: code)?.description ?? code
        let agent = try await storage.change {
            try await $0.approveLogin(code, as: choice)
        } _: { agent in
            "approved the code \(shown) as the agent \(quoted(agent.id))"
        }
        let named = agent.name.map { " named \(quoted($0))" } ?? ""
        try output.write("approved \(shown): the host is the agent \(quoted(agent.id))\(named)", json: agent)
    }
}
