import AgentModel
import ArgumentParser
import Diagnostics

struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Have a run stopped, or keep it from beginning.",
        discussion: """
            RUN is the id of a one-off task, or of a run as "runbook runs running" lists it. A run that is under way is
            stopped as by its time limit, and reported "cancelled"; one that has ended keeps its result.

            EXAMPLE
              runbook cancel 01JD3ZKQ --reason "wrong host"
            """)

    @Argument(help: "The id of a one-off task, or of a run that is under way.")
    var run: String

    @Option(name: .long, help: "Why, for the run's result and the host's log.")
    var reason: String?

    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        let client = try connection.connect()
        var body: [String: JSONValue] = ["by": .string(ConnectionOptions.user)]
        if let reason { body["reason"] = .string(reason) }
        let id = AdministrationClient.segment(run)
        do {
            try await client.post("tasks/\(id)/cancel", .object(body))
        } catch ClientError.refused("task.not_found", _) {
            try await client.post("running/\(id)/cancel", .object(body))
        }
        Screen.writeError("the host is told to stop it; \"runbook logs \(run)\" shows what became of it")
    }
}
