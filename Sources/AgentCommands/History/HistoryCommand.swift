import Agent
import AgentModel
import ArgumentParser
import Foundation
import RunJournal

struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "List the runs of this host, the newest first.",
        discussion: """
            Reads the journal, beside a running agent or without one. DELIVERY is "running", "pending", "delivered",
            "dead-letter" (the backend refused it for good; see "outbox") or "discarded".

            EXAMPLE
              runbook-agent history --status failed --limit 10
              runbook-agent history show 019ab1c2-7d3e-7f00-8a52-0c4b6f1e2d3a
            """,
        subcommands: [HistoryShowCommand.self])

    @Option(name: .long, help: ArgumentHelp("Only runs of this task.", valueName: "id"))
    var task: String?

    @Option(name: .long, help: "Only runs with this status.")
    var status: StatusArgument?

    @Option(name: .long, help: "How many runs at most.")
    var limit = 50

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws {
        guard 1...1_000_000 ~= limit else { throw ValidationError("--limit is 1 to 1000000, not \(limit)") }
    }

    func run() async throws {
        let configuration = try configurationOptions.load()
        let reader = try await RunJournal.openReadOnly(directory: configuration.stateDirectory)
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
            case run, task, command, plugin, status, code, problem, delivery
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
            problem = record.error?.message
            delivery = DeliveryView(record.delivery)
        }

        static let header = ["RUN", "STARTED", "TASK", "COMMAND", "STATUS", "DURATION", "DELIVERY", "CODE"]
        var cells: [String] {
            [
                run, RFC3339.string(from: startedAt), task, command, status,
                durationMilliseconds.map { TimeSpan.text($0 / 1000) } ?? "", delivery.state, code ?? "",
            ]
        }
    }
}
