import Agent
import AgentModel
public import ArgumentParser
import CommandOutput
import Foundation
public import RunJournal

struct OutboxListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List results that are not delivered yet, oldest first.",
        discussion: """
            STATE is "pending" (the agent will deliver it) or "dead-letter": the backend refused it for good,
            and it is kept until "outbox retry" or "outbox discard". RUN is the end of the run's id, which every command
            takes; --json has the whole id. QUEUED is UTC.

            EXAMPLE
              runbook-agent outbox list --state dead-letter --json
            """)

    @Option(name: .long, help: "Only results in this state.")
    var state: OutboxEntry.State?

    @Option(name: .long, help: "Maximum number of results.")
    var limit = 100

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    mutating func validate() throws { try ConfigurationOptions.checkLimit(limit) }

    func run() async throws {
        let reader = try await configurationOptions.openJournal()
        let entries = try await reader.outbox(state, limit: limit)
        try output.renderer.print(entries.map(Row.init))
        guard entries.count == limit else { return }
        let counts = try await reader.counts()
        let total =
            switch state {
            case nil: counts.pending + counts.deadLetters
            case .pending: counts.pending
            case .deadLetter: counts.deadLetters
            }
        if total > limit { Terminal.writeError("\(limit) of \(total) are shown; --limit \(total) shows all") }
    }

    private struct Row: Listable {
        let run: String
        let task: String
        let state: String
        let status: String
        let bytes: Int
        let attempts: Int
        let queuedAt: Date
        let nextAttempt: Date?
        let reason: String?

        enum CodingKeys: String, CodingKey {
            case run = "run_id"
            case task = "task_id"
            case state, status, bytes, attempts, reason
            case queuedAt = "queued_at"
            case nextAttempt = "next_attempt"
        }

        init(_ entry: OutboxEntry) {
            run = entry.runID.rawValue
            task = entry.taskID
            state = entry.state.rawValue
            status = entry.status.rawValue
            bytes = entry.size
            attempts = entry.attempts
            queuedAt = entry.queuedAt
            nextAttempt = entry.nextAttempt
            reason = entry.reason
        }

        static let header = ["RUN", "QUEUED", "TASK", "STATUS", "SIZE", "STATE", "ATTEMPTS", "REASON"]
        var cells: [String] {
            [
                ShortID.text(of: run), ShortTime.text(of: queuedAt), task, status, ByteCount.text(bytes), state,
                "\(attempts)",
                reason ?? "",
            ]
        }
    }
}

extension OutboxEntry.State: ExpressibleByArgument {}
