import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct StackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stack", abstract: "Show where a run is in its code now.",
        discussion: """
            RUN is the id of a task, or of a run as "runbook runs running" lists it. The run goes on undisturbed. What it was
            doing before it was stopped stands in the result of a run that timed out or was cancelled.

            EXAMPLE
              runbook stack 01JD3ZKQ
            """)

    @Argument(help: "The id of a task whose run is under way, or of the run.")
    var run: String

    @Option(name: .long, help: "Seconds to wait for the host; one that polls answers with its next poll.")
    var wait: Double = 15

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard (1...60).contains(wait) else { throw ValidationError("--wait is 1 to 60 seconds") }
    }

    func run() async throws {
        let client = try connection.connect()
        let id = AdministrationClient.segment(run)
        let (query, limit) = (["wait": "\(wait)"], Duration.seconds(wait + 15))
        let body: Data
        do {
            body = try await client.get("tasks/\(id)/stack", query, limit: limit)
        } catch ClientError.refused("task.not_found", _) {
            body = try await client.get("running/\(id)/stack", query, limit: limit)
        }
        let stack: Document<RunStack> = try client.value(body)
        if output.json { return print(try ListRenderer.json(stack.raw)) }
        guard let text = stack.content.pythonStack else {
            return Screen.writeError("the run is under way, and its host can't tell where it is in its code")
        }
        Screen.write(Data((text.hasSuffix("\n") ? text : text + "\n").utf8), on: .standardOutput)
    }
}
