public import AgentModel

/// What opening the journal found and did.
public struct RecoveryReport: Sendable, Equatable {
    /// There was no journal before.
    public var isNew = false
    /// Runs that were started and cut off by the end of the last agent. Each is in the outbox with the result that
    /// it was given.
    public var interrupted: [RunRecord] = []
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
    /// The verdict where nothing more is known: `interrupted`.
    public static let interruptedByDefault: InterruptionVerdict = { run in
        (
            .interrupted,
            RunError(
                code: "run.interrupted",
                message: "the agent ended while \(quoted(run.command)) was running; it is not run again by itself")
        )
    }
}
