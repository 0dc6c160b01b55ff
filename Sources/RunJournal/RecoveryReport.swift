public import AgentModel

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
    /// How the last agent ended, where a plugin's code ended it.
    public var death: ProcessDeath?
    /// Why no trace of the calls can be kept: an end by a plugin will be reported as an interruption.
    public var traceError: RunJournalError?
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
        /// ran and results that were not delivered.
        public var isComplete: Bool
    }
}

/// Decides what is reported for a run that the last agent left unfinished.
public typealias InterruptionVerdict = @Sendable (_ run: RunStart) -> (status: RunStatus, error: RunError)

extension RecoveryReport {
    /// `crashed` for the run whose plugin ended the process, `interrupted` for those that ran beside it and wherever
    /// nothing tells who it was.
    static func verdict(after death: ProcessDeath?) -> InterruptionVerdict {
        { run in
            guard let death else {
                return (
                    .interrupted,
                    RunError(
                        code: "run.interrupted",
                        message:
                            "the agent ended while \(quoted(run.command)) was running; it is not run again by itself"
                    )
                )
            }
            guard run.runID == death.runID else {
                return (
                    .interrupted,
                    RunError(
                        code: "run.interrupted",
                        message: "the plugin \(quoted(death.pluginID)) took the agent's process down "
                            + "\(death.sentence) while \(quoted(run.command)) was running beside it; it is not run "
                            + "again by itself")
                )
            }
            return (
                .crashed,
                RunError(
                    code: "run.crashed",
                    message: "the plugin \(quoted(death.pluginID)) took the agent's process down \(death.sentence) "
                        + "while it ran \(quoted(run.command)); it is not run again by itself; correct the plugin")
            )
        }
    }
}
