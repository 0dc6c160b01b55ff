public import AgentModel
import Diagnostics
import Foundation
import GRDB

/// What opening the journal found and did.
public struct RecoveryReport: Sendable, Equatable {
    /// There was no journal before.
    public var isNew = false
    /// Runs that were started and cut off by the end of the last agent. Each is in the outbox with the result that
    /// it was given.
    public var interrupted: [RunRecord] = []
    /// One-off tasks that were written down ahead of their turn and had not begun: they are as if they had never been
    /// handed out, and run when the backend lists them again.
    public var takenBack: [RunStart] = []
    /// Ids of runs that were cut off and of which the journal has nothing, because their starts were not to be written down:
    /// their tasks run again when they are listed again.
    public var cutOff: [String] = []
    /// How the last agent ended, where a plugin's code ended it.
    public var death: ProcessDeath?
    /// Why no trace of the calls can be kept: an end by a plugin will be reported as an interruption.
    public var traceError: RunJournalError?
    /// Why the next agent will not know which runs had begun: none is taken back then.
    public var begunError: RunJournalError?
    /// The database was damaged and moved to another name.
    public var damage: Damage?

    /// A damaged database and what became of it.
    public struct Damage: Sendable, Equatable {
        /// Where the damaged file is now. It is never deleted.
        public var setAside: String
        /// What SQLite said.
        public var problem: String
        /// Rows that could be read, by table.
        public var recoveredRows: [String: Int]
        /// Whether every row of every table was read. If not, the journal may have forgotten one-off tasks that
        /// ran (``RunJournal/mayHaveForgotten``) and results that were not delivered.
        public var isComplete: Bool
    }
}

/// Decides what is reported for a run that the last agent left unfinished.
public typealias InterruptionVerdict = @Sendable (_ run: RunStart) -> (status: RunStatus, error: RunError)

extension RecoveryReport {
    /// `crashed` for the run whose plugin ended the process, `interrupted` for those that ran beside it and wherever
    /// nothing tells who it was.
    ///
    /// - Parameter begun: ids of the runs that had begun; nil where that isn't known.
    static func verdict(after death: ProcessDeath?, begun: Set<String>?) -> InterruptionVerdict {
        { run in
            let command = quoted(run.command)
            if let death, run.runID == death.runID {
                return (
                    .crashed,
                    RunError(
                        code: "run.crashed",
                        message: "the plugin \(quoted(death.pluginID)) took the agent's process down \(death.sentence) "
                            + "while it ran \(command); it is not run again by itself; correct the plugin")
                )
            }
            let end =
                death.map { "the plugin \(quoted($0.pluginID)) took the agent's process down \($0.sentence)" }
                ?? "the agent ended"
            let moment =
                switch begun?.contains(run.runID.rawValue) {
                case true?: "while \(command) was running" + (death == nil ? "" : " beside it")
                case false?: "before \(command) had begun"
                case nil: "while \(command) was running or about to begin, which is not known"
                }
            return (
                .interrupted,
                RunError(code: "run.interrupted", message: "\(end) \(moment); it is not run again by itself")
            )
        }
    }
}

extension RecoveryReport.Damage {
    /// Keeps it in the database that was recovered.
    func write(_ db: Database) throws {
        let rows = String(decoding: try JSONEncoder().encode(recoveredRows), as: UTF8.self)
        try db.execute(
            sql: "INSERT INTO recovery (set_aside, problem, recovered_rows, complete) VALUES (?, ?, ?, ?)",
            arguments: [setAside, problem, rows, isComplete])
    }

    /// What nobody has been told yet. What is known to be whole is forgotten by that.
    static func takeUnreported(_ db: Database) throws -> Self? {
        guard let row = try Row.fetchOne(db, sql: "SELECT * FROM recovery WHERE NOT reported") else { return nil }
        try db.execute(sql: "UPDATE recovery SET reported = 1; DELETE FROM recovery WHERE complete")
        let rows = try JSONDecoder().decode([String: Int].self, from: Data((row["recovered_rows"] as String).utf8))
        return Self(
            setAside: row["set_aside"], problem: row["problem"], recoveredRows: rows, isComplete: row["complete"])
    }
}
