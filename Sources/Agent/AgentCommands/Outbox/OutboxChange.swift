import Agent
import AgentModel
import CommandOutput
import Diagnostics
import Foundation
import RunJournal

/// What `outbox retry` and `outbox discard` have in common: the journal beside a running agent, all named runs or
/// none, and what is said afterwards.
struct OutboxChange {
    private let directory: String
    private let output: OutputOptions

    /// - Throws: `ConfigurationError`.
    init(_ options: ConfigurationOptions, _ output: OutputOptions) throws {
        directory = try options.load().stateDirectory
        self.output = output
    }

    /// One line of what was done.
    struct Row: Listable {
        enum Change: String, Encodable {
            case retried
            case alreadyPending = "already-pending"
            case discarded
            /// The running agent was faster.
            case deliveredMeanwhile = "delivered-meanwhile"
        }

        let run: String
        let change: Change

        enum CodingKeys: String, CodingKey {
            case run = "run_id"
            case change
        }

        init(run: RunID, change: Change) {
            self.run = run.rawValue
            self.change = change
        }

        static let header = ["RUN", "CHANGE"]
        var cells: [String] { [ShortID.text(of: run), change.rawValue] }
    }

    /// - Throws: `RunJournalError`.
    func perform(_ change: (RunJournal) async throws -> [Row]) async throws {
        let journal = try await RunJournal.openShared(directory: directory)
        let rows: [Row]
        do {
            rows = try await change(journal)
        } catch {
            await journal.close()
            throw error
        }
        await journal.close()
        try output.renderer.print(rows)
        // Not on standard output, which is for the list.
        Terminal.writeError(rows.isEmpty ? "there are no dead letters; nothing was changed" : try notice)
    }

    /// - Throws: `journal.unknown_run`, `journal.not_in_outbox`: then nothing is to be changed.
    static func states(of runs: [RunID], in journal: RunJournal) async throws -> [RunID: DeliveryState] {
        let states = try await journal.reader.deliveryStates(of: runs)
        for run in runs {
            let problem: String
            switch states[run] {
            case nil: throw RunJournalError.unknownRun(run)
            case .pending, .deadLetter: continue
            case .running: problem = "has not finished"
            case .delivered(let time): problem = "was delivered at \(RFC3339.string(from: time))"
            case .discarded(let time): problem = "was discarded at \(RFC3339.string(from: time))"
            }
            throw RunJournalError.notInOutbox(run, state: problem)
        }
        return states
    }

    private var notice: String {
        get throws {
            switch try RunJournal.holder(of: directory) {
            case .running(let process?):
                "the running agent, process \(process), notices within \(OutboxWatch.interval) seconds"
            case .running(nil): "the running agent notices within \(OutboxWatch.interval) seconds"
            case .nobody: "no agent is running; the next one finds the outbox so"
            }
        }
    }
}
