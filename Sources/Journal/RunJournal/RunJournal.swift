public import AgentModel
public import Foundation
import GRDB
import Synchronization
import Threads

/// What must survive a crash: one-off tasks that started, runs, and results that the backend doesn't have yet.
///
/// SQLite with a write-ahead log and `synchronous=FULL`: what a call returned from is on disk. One thread writes, and
/// takes what many callers ask into one transaction. No call blocks the cooperative thread pool, and cancelling the
/// task that called doesn't take back what it asked.
public final class RunJournal: Sendable {
    /// Answers questions without waiting for the writer.
    public let reader: JournalReader
    /// Which thread is inside of which plugin's code. Nil where the disk didn't allow it, and for a journal that was
    /// opened beside a running agent.
    public let trace: CallTrace?
    let writer: JournalWriter
    let state: BlockingLock<State>
    private let lock: Mutex<LockHolder>

    /// What is known without asking the database. Changed when the transaction that it follows from is on disk.
    struct State: Sendable {
        var oneOffTasks = OneOffTasks()
        var outboxBytes = 0
        /// Plugins with crashes that a success would end the row of.
        var crashedPlugins: Set<String> = []
        var mayHaveForgotten = false
        /// Handed out for delivery, and not yet reported on.
        var leased: Set<RunID> = []
        /// The latest time that ``RunJournal/nextDeliveries(limit:now:)`` was called at.
        var latestTime = Date.distantPast
        /// SQLite's number of changes made by other processes.
        var dataVersion: Int64?
        /// The same, for ``RunJournal/wasChangedByAnother()``.
        var watchedVersion: Int64?
    }

    private struct LockHolder: ~Copyable {
        var lock: DirectoryLock?
    }

    private init(pool: DatabasePool, path: String, lock: consuming DirectoryLock?, state: State, trace: CallTrace?) {
        self.trace = trace
        reader = JournalReader(reader: pool, path: path)
        writer = JournalWriter(pool: pool, path: path)
        self.state = BlockingLock(state)
        self.lock = Mutex(LockHolder(lock: lock))
    }

    deinit {
        writer.stop()
    }

    /// Opens the journal of a state directory for the one agent that runs on it.
    ///
    /// Makes the directory (mode 0700) and the journal (0600) where they aren't there. One-off tasks that the last
    /// agent had written down and not begun are taken back; other runs that it left unfinished get the result that
    /// `verdict` gives them, in the outbox, in one transaction; without one that is `crashed` for a run whose plugin
    /// took the process down, and `interrupted` for all others. A damaged database is set aside under a new name and
    /// recovered as far as SQLite can read it; the report says so.
    ///
    /// The database is checked whole: about a second for a gigabyte.
    /// - Throws: `journal.locked` where another agent runs on the directory; `journal.newer`, `journal.disk_full`,
    ///   `journal.read_only`, `journal.io`.
    public static func open(
        directory: String, now: Date = Date(),
        verdict: InterruptionVerdict? = nil
    ) async throws(RunJournalError) -> (RunJournal, RecoveryReport) {
        try await onThread { () throws(RunJournalError) in
            let file = JournalFile(directory: directory)
            try file.prepareDirectory()
            let lock = try DirectoryLock.acquire(directory: directory)
            let (pool, isNew) = try file.open(now: now)
            let last = CallTrace.last(directory: directory)
            do {
                var (report, state) = try pool.write { db in
                    var report = RecoveryReport()
                    report.isNew = isNew
                    report.death = last?.death
                    report.damage = try RecoveryReport.Damage.takeUnreported(db)
                    // What was recovered may have lost the end of a run that has.
                    let begun = report.damage == nil ? last?.begunRuns : nil
                    report.cutOff = (begun?.unwritten ?? []).sorted()
                    try Self.resetDeferrals(beyond: now, db)
                    if let death = report.death { try Self.count(death, now: now, db) }
                    if let begun { report.takenBack = try Self.undoStarts(allBut: begun.written, db) }
                    report.interrupted = try Self.recoverUnfinished(
                        db, now: now,
                        verdict: verdict
                            ?? RecoveryReport.verdict(after: report.death, begun: begun?.written))
                    // In here: what another process changes from now on has another version.
                    return (report, try Self.loadState(db))
                }
                last?.forgetBegunRuns()
                // Now that what the last one says is in the journal.
                let trace: CallTrace?
                do throws(RunJournalError) {
                    trace = try CallTrace(directory: directory)
                    report.begunError = trace?.begunError
                } catch {
                    trace = nil
                    report.traceError = error
                }
                return (RunJournal(pool: pool, path: file.path, lock: lock, state: state, trace: trace), report)
            } catch {
                throw RunJournalError(error, path: file.path)
            }
        }
    }

    /// Opens the journal for reading only, also while an agent runs on the directory.
    /// - Throws: `journal.missing` where no agent has run; `journal.io`, `journal.corrupt`.
    public static func openReadOnly(directory: String) async throws(RunJournalError) -> JournalReader {
        try await onThread { () throws(RunJournalError) in
            let file = JournalFile(directory: directory)
            return JournalReader(reader: try file.openForReading(), path: file.path)
        }
    }

    /// Opens the journal for a person's changes to the outbox (``retryDeadLetters(_:)``, ``discard(_:at:)``), also
    /// while an agent runs on the directory: that agent notices.
    ///
    /// Nothing is recovered and no lock is taken, so no run may be started through it.
    /// - Throws: `journal.missing` where no agent has run; `journal.read_only`, `journal.io`, `journal.corrupt`.
    public static func openShared(directory: String) async throws(RunJournalError) -> RunJournal {
        try await onThread { () throws(RunJournalError) in
            let file = JournalFile(directory: directory)
            return RunJournal(pool: try file.openShared(), path: file.path, lock: nil, state: State(), trace: nil)
        }
    }

    /// Writes what was asked before, closes the database and lets go of the directory. Later calls throw
    /// `journal.closed`.
    public func close() async {
        let isNothingUnfinished = (try? await reader.running().isEmpty) ?? false
        await writer.close()
        if isNothingUnfinished { trace?.forgetBegunRuns() }
        lock.withLock { $0.lock = nil }
    }

    /// Whether this journal was recovered from a damaged one that could not be read whole: it may have forgotten
    /// one-off tasks that ran. True until ``reportForgotten(_:error:now:)``.
    public var mayHaveForgotten: Bool { state.withLock { $0.mayHaveForgotten } }

    /// Has a function called when the database turns out to be damaged or gone (``RunJournalError/isLoss``), once, on
    /// the thread that writes.
    public func setOnLoss(_ onLoss: @escaping @Sendable (RunJournalError) -> Void) { writer.setOnLoss(onLoss) }

    /// The size of all pending results and dead letters, in bytes, for `outbox_limit`.
    public var outboxBytes: Int { state.withLock { $0.outboxBytes } }

    /// Whether a one-off task of this id was started or rejected before. Answered from memory.
    public func hasStarted(_ taskID: String) -> Bool {
        state.withLock { $0.oneOffTasks.contains(taskID) }
    }

    /// Those of the ids whose one-off task was started or rejected before. Answered from memory.
    public func oneOffTasksStarted(among taskIDs: some Sequence<String>) -> Set<TaskID> {
        state.withLock { state in Set(taskIDs.compactMap { state.oneOffTasks.contains($0) ? TaskID($0) : nil }) }
    }

    private static func loadState(_ db: Database) throws -> State {
        var state = State()
        let count = try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM one_off_task") ?? 0
        let taskIDs = try String.fetchCursor(db, sql: "SELECT task_id FROM one_off_task")
        state.oneOffTasks = try OneOffTasks(expecting: count) { try taskIDs.next() }
        state.outboxBytes = try Int.fetchOne(db, sql: "SELECT TOTAL(size) FROM outbox") ?? 0
        state.dataVersion = try dataVersion(db)
        state.watchedVersion = state.dataVersion
        state.mayHaveForgotten = try Bool.fetchOne(db, sql: "SELECT 1 FROM recovery WHERE NOT complete") ?? false
        state.crashedPlugins = try String.fetchSet(db, sql: "SELECT plugin_id FROM plugin_crash")
        return state
    }

    private static func onThread<Value: Sendable>(
        _ body: @escaping @Sendable () throws(RunJournalError) -> Value
    ) async throws(RunJournalError) -> Value {
        let result: Result<Value, RunJournalError> = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: Result(catching: body)) }
        }
        return try result.get()
    }
}
