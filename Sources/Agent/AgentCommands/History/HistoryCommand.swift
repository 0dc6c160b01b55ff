import Agent
import AgentModel
import ArgumentParser
import CommandOutput
import Foundation
import RunJournal

struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "List the runs of this host, newest first.",
        discussion: """
            Reads the journal, with or without a running agent. DELIVERY is "running", "pending", "delivered",
            "dead-letter" (the backend refused it for good; see "outbox") or "discarded". RUN is the end of the run's id,
            which every command takes; --json has the whole id. STARTED is UTC. Long names are cut in the middle.

            EXAMPLE
              runbook-agent history --status failed --limit 10
              runbook-agent history show 6f1e2d3a
            """,
        subcommands: [HistoryShowCommand.self])

    @Option(name: .long, help: ArgumentHelp("Only runs of this task.", valueName: "id"))
    var task: String?

    @Option(name: .long, help: "Only runs with this status.")
    var status: StatusArgument?

    @Option(name: .long, help: "Maximum number of runs.")
    var limit = 50

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws { try ConfigurationOptions.checkLimit(limit) }

    func run() async throws {
        let reader = try await configurationOptions.openJournal()
        var filter = HistoryFilter(taskID: task)
        switch status {
        case .finished(let status): filter.status = status
        case .running: filter.isUnfinished = true
        case nil: break
        }
        try output.renderer.print(try await reader.history(filter, limit: limit).map(Row.init))
    }

    private struct Row: Listable {
        let run: String
        let task: String
        let command: String
        let plugin: String?
        let status: String
        let startedAt: Date
        let finishedAt: Date?
        let durationMilliseconds: Double?
        let scheduledFor: Date?
        let code: String?
        let problem: String?
        let delivery: DeliveryView

        enum CodingKeys: String, CodingKey {
            case run = "run_id"
            case task = "task_id"
            case command, plugin, status, code, problem, delivery
            case startedAt = "started_at"
            case finishedAt = "finished_at"
            case durationMilliseconds = "duration_ms"
            case scheduledFor = "scheduled_for"
        }

        init(_ record: RunRecord) {
            run = record.runID.rawValue
            task = record.taskID
            command = record.start.command
            plugin = record.start.pluginID
            status = record.status?.rawValue ?? "running"
            startedAt = record.start.startedAt
            finishedAt = record.finishedAt
            durationMilliseconds = record.durationMilliseconds
            scheduledFor = record.start.scheduledFor
            code = record.error?.code
            problem = record.error?.sentence
            delivery = DeliveryView(record.delivery)
        }

        static let header = ["RUN", "STARTED", "TASK", "COMMAND", "STATUS", "TIME", "DELIVERY", "CODE"]
        static let shrinking = [2, 3, 7]
        var cells: [String] {
            [
                ShortID.text(of: run), ShortTime.text(of: startedAt), task, command, status,
                durationMilliseconds.map { TimeSpan.text($0 / 1000) } ?? "",
                // A run that is under way is said once.
                status == "running" ? "" : delivery.state, code ?? "",
            ]
        }
    }
}
