import Agent
import AgentModel
import ArgumentParser
import CommandOutput
import Diagnostics
import Foundation
import RunJournal

struct HistoryShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one run with its output and traceback.",
        discussion: """
            EXAMPLE
              runbook-agent history show 6f1e2d3a
            """)

    @Argument(help: ArgumentHelp("The run's id, or the end of it; \"history\" lists them.", valueName: "run id"))
    var run: RunArgument

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let reader = try await configurationOptions.openJournal()
        let id = try await run.resolve(in: reader)
        guard let record = try await reader.run(id) else { throw RunJournalError.unknownRun(id) }
        let view = View(record)
        if output.json {
            print(try ListRenderer.json(view))
        } else {
            view.printForPeople()
        }
    }

    private struct View: Encodable {
        let run: String
        let task: String
        let isOneOff: Bool
        let command: String
        let plugin: String?
        let function: String?
        let isolation: String?
        let status: String
        let scheduledFor: Date?
        let startedAt: Date
        let finishedAt: Date?
        let durationMilliseconds: Double?
        let pythonStack: String?
        let agentVersion: String?
        let delivery: DeliveryView
        let error: RunError?
        let data: String?
        let stdout: String?
        let stderr: String?

        enum CodingKeys: String, CodingKey {
            case run = "run_id"
            case task = "task_id"
            case command, plugin, function, isolation, status, delivery, error, data, stdout, stderr
            case isOneOff = "one_off"
            case scheduledFor = "scheduled_for"
            case startedAt = "started_at"
            case finishedAt = "finished_at"
            case durationMilliseconds = "duration_ms"
            case pythonStack = "python_stack"
            case agentVersion = "agent_version"
        }

        init(_ record: RunRecord) {
            run = record.runID.rawValue
            task = record.taskID
            isOneOff = record.start.isOneOff
            command = record.start.command
            plugin = record.start.pluginID
            function = record.start.function
            isolation = record.result?.isolation ?? record.start.isolation
            status = record.status?.rawValue ?? "running"
            scheduledFor = record.start.scheduledFor
            startedAt = record.start.startedAt
            finishedAt = record.finishedAt
            durationMilliseconds = record.durationMilliseconds
            pythonStack = record.result?.pythonStack
            agentVersion = record.result?.agentVersion
            delivery = DeliveryView(record.delivery)
            error = record.error
            data = record.result?.data
            stdout = record.result?.stdout
            stderr = record.result?.stderr
        }

        func printForPeople() {
            let fields = Fields()
            fields.print("run", run)
            fields.print("task", task + (isOneOff ? " (one-off)" : ""))
            fields.print("command", command)
            fields.print("plugin", plugin)
            fields.print("function", function)
            fields.print("isolation", isolation)
            fields.print("status", status)
            fields.print("scheduled for", scheduledFor.map(RFC3339.string(from:)))
            fields.print("started", RFC3339.string(from: startedAt))
            fields.print("finished", finishedAt.map(RFC3339.string(from:)))
            fields.print("duration", durationMilliseconds.map { TimeSpan.text($0 / 1000) })
            fields.print("delivery", delivery.text)
            fields.print("error", error.map { "\($0.sentence) [\($0.code)]" })
            fields.printBlock("data", data)
            fields.printBlock("stdout", stdout)
            fields.printBlock("stderr", stderr)
            fields.printBlock("traceback", error?.traceback)
            fields.printBlock("stack before it was stopped", pythonStack)
        }
    }
}
