import AgentModel
import ArgumentParser
import CommandOutput
import Foundation

struct RunsShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a run whole.",
        discussion: """
            EXAMPLE
              runbook runs show 9ab57c4e-57de-4a3c-9a1b-5f4a30e2c1aa
            """)

    @Argument(help: "The backend's id of the run.")
    var run: String

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let client = try connection.connect()
        let found: Document<RunRow> = try client.value(
            try await client.get("runs/\(AdministrationClient.segment(run))"))
        if output.json { return print(try ListRenderer.json(found.raw)) }
        let (fields, run) = (Fields(), found.content)
        fields.print("id", run.id)
        fields.print("run", run.runID)
        fields.print("agent", run.agentID)
        fields.print("task", run.taskID)
        fields.print("command", run.command)
        fields.print("status", run.status)
        fields.print("started", run.startedAt)
        fields.print("duration", run.durationMilliseconds.map { String(format: "%.1f ms", $0) })
        fields.print("error", run.error.map { "\($0.sentence) [\($0.code)]" })
        fields.printBlock("traceback", run.error?.traceback)
        fields.printBlock("stack before it was stopped", run.pythonStack)
        fields.printBlock("stdout", run.stdout)
        fields.printBlock("stderr", run.stderr)
        fields.printBlock("result", run.data)
    }
}
