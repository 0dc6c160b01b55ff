public import AgentModel
public import Foundation
import GRDB
import Synchronization
import Threads

extension RunJournal {
    /// Writes down that a run begins. When it returns ``StartDecision/go`` the plugin's code may run.
    ///
    /// Keeps the fire time of a scheduled run in the same transaction.
    /// - Throws: `journal.disk_full`, `journal.read_only`, `journal.corrupt`, `journal.removed`, `journal.io`,
    ///   `journal.closed`: then the run must not begin.
    public func started(_ run: RunStart) async throws(RunJournalError) -> StartDecision {
        try await writer.perform { [writer] db in
            try writer.checkPlace()
            return try Self.begin(run, db)
        } onCommit: { [self] _ in
            if run.isOneOff { remember(run.taskID) }
        }
    }

    /// Takes the result of a run and puts it into the outbox, in one transaction.
    ///
    /// The status and the times of `result` are kept; where it has no end the present is taken.
    /// - Returns: False where the run had finished before; nothing is changed then.
    /// - Throws: `journal.unknown_run`, and what ``started(_:)`` throws.
    @discardableResult
    public func finished(
        _ runID: RunID, status: RunStatus, result: TaskResult, now: Date = Date()
    ) async throws(RunJournalError) -> Bool {
        let size = OutboxSize.bytes(of: result)
        enum Ending: Sendable { case taken, finishedBefore, unknown }
        let ending: Ending = try await writer.perform { [self] db in
            if try Self.finish(runID, status: status, result: result, size: size, now: now, db) {
                if status == .succeeded { try endCrashes(with: runID, db) }
                return .taken
            }
            let isKnown = try Bool.fetchOne(db, sql: "SELECT 1 FROM run WHERE id = ?", arguments: [runID.rawValue])
            return isKnown == true ? .finishedBefore : .unknown
        } onCommit: { [self] ending in
            if ending == .taken { addToOutbox(size) }
            trace?.settle(runID)
        }
        if ending == .unknown { throw .unknownRun(runID) }
        return ending == .taken
    }

    /// Takes back a run that was written down and of which nothing ran: a one-off task can run as if it had never been
    /// handed out.
    /// - Throws: what ``started(_:)`` throws.
    public func undoStart(_ run: RunStart) async throws(RunJournalError) {
        _ = try await writer.perform { db in
            try Self.undoStart(run, db)
        } onCommit: { [self] isGone in
            if isGone { state.withLock { $0.oneOffTasks.remove(run.taskID) } }
            trace?.settle(run.runID)
        }
    }

    /// A run begins whose start is not written down. What the agent leaves behind where it is killed tells the next one that it
    /// was cut off; the one-off task runs again when it is listed again.
    public func startsUnwritten(_ runID: RunID) { trace?.startsUnwritten(runID) }

    /// Keeps a run that never began, or whose start was not written down, and its result, in one transaction. A one-off task
    /// with its id is done by that.
    /// - Returns: ``StartDecision/alreadyRan`` where a one-off was started or completed before; nothing is kept then.
    /// - Throws: what ``started(_:)`` throws.
    @discardableResult
    public func completed(_ run: RunStart, result: TaskResult, now: Date = Date()) async throws(RunJournalError)
        -> StartDecision
    {
        let size = OutboxSize.bytes(of: result)
        let status = result.status ?? .rejected
        return try await writer.perform { [self] db in
            try writer.checkPlace()
            guard try Self.begin(run, db) == .go else { return .alreadyRan }
            _ = try Self.finish(run.runID, status: status, result: result, size: size, now: now, db)
            if status == .succeeded { try endCrashes(with: run.runID, db) }
            return .go
        } onCommit: { [self] decision in
            if run.isOneOff { remember(run.taskID) }
            trace?.settle(run.runID)
            if decision == .go { addToOutbox(size) }
        }
    }

    /// Gives one-off tasks that a damaged journal may have forgotten the result `interrupted`, in one transaction, and
    /// with that ``RunJournal/mayHaveForgotten``. Those that are remembered are left as they are.
    ///
    /// - Parameter error: says what is known of them.
    /// - Throws: what ``started(_:)`` throws; nothing is changed then.
    public func reportForgotten(_ runs: [RunStart], error: RunError, now: Date = Date()) async throws(RunJournalError) {
        _ = try await writer.perform { [writer] db in
            try writer.checkPlace()
            var bytes = 0
            for run in runs where try Self.begin(run, db) == .go {
                let result = TaskResult(data: nil, status: .interrupted, error: error, finishedAt: now)
                let size = OutboxSize.bytes(of: result)
                _ = try Self.finish(run.runID, status: .interrupted, result: result, size: size, now: now, db)
                bytes += size
            }
            try db.execute(sql: "DELETE FROM recovery")
            return bytes
        } onCommit: { [self] bytes in
            for run in runs { remember(run.taskID) }
            addToOutbox(bytes)
            state.withLock { $0.mayHaveForgotten = false }
        }
    }

    /// Does what ``completed(_:result:now:)`` does, unless a run of the task was rejected before with this very error: for
    /// a task that can't run as it is listed, and is listed again and again.
    /// - Returns: False where one was; nothing is kept then.
    /// - Throws: what ``started(_:)`` throws.
    public func rejectedOnce(
        _ run: RunStart, result: TaskResult, now: Date = Date()
    ) async throws(RunJournalError) -> Bool {
        let size = OutboxSize.bytes(of: result)
        return try await writer.perform { [writer] db in
            try writer.checkPlace()
            let isKnown = try Bool.fetchOne(
                db, sql: Self.rejectedBefore,
                arguments: [run.taskID, result.error?.code, result.error?.message.bytes])
            guard isKnown == nil, try Self.begin(run, db) == .go else { return false }
            _ = try Self.finish(run.runID, status: .rejected, result: result, size: size, now: now, db)
            return true
        } onCommit: { [self] isKept in
            if isKept { addToOutbox(size) }
        }
    }

    /// The status is written out: only then is the index of rejected runs for it.
    static let rejectedBefore = """
        SELECT 1 FROM run
        WHERE task_id = ? AND status = 'rejected' AND NOT one_off AND error_code IS ? AND error_message IS ?
        """

    /// Keeps the fire time of a schedule that no run was started for, such as one that was skipped.
    ///
    /// An earlier time than the one kept changes nothing.
    public func fired(_ taskID: String, at time: Date) async throws(RunJournalError) {
        try await writer.perform { db in try Self.keepFireTime(of: taskID, time, db) }
    }

    /// Replaces the fire times kept of schedules, also by earlier ones: they are of a clock that was wrong.
    public func resetFireTimes(of taskIDs: [String], to time: Date) async throws(RunJournalError) {
        try await writer.perform { db in
            let statement = try db.cachedStatement(sql: "UPDATE schedule SET last_fire = ? WHERE task_id = ?")
            for taskID in taskIDs { try statement.execute(arguments: [time.milliseconds, taskID]) }
        }
    }

    /// Forgets the fire times of schedules that are no more.
    public func forgetSchedules(_ taskIDs: [String]) async throws(RunJournalError) {
        try await writer.perform { db in
            let statement = try db.cachedStatement(sql: "DELETE FROM schedule WHERE task_id = ?")
            for taskID in taskIDs { try statement.execute(arguments: [taskID]) }
        }
    }

    /// Mostly no plugin has crashed, and nothing is asked.
    private func endCrashes(with runID: RunID, _ db: Database) throws {
        let crashed = state.withLock { $0.crashedPlugins }
        guard !crashed.isEmpty,
            let row = try Row.fetchOne(
                db, sql: "SELECT plugin_id, function FROM run WHERE id = ?", arguments: [runID.rawValue]),
            let pluginID = row[0] as String?, crashed.contains(pluginID)
        else { return }
        try Self.endRow(ofCrashesBy: pluginID, function: row[1] as String? ?? "", db)
    }

    private func remember(_ taskID: String) { state.withLock { $0.oneOffTasks.insert(taskID) } }

    private func addToOutbox(_ size: Int) { state.withLock { $0.outboxBytes += size } }

    private static func begin(_ run: RunStart, _ db: Database) throws -> StartDecision {
        if run.isOneOff {
            try db.cachedStatement(sql: "INSERT OR IGNORE INTO one_off_task (task_id, run_id) VALUES (?, ?)")
                .execute(arguments: [run.taskID, run.runID.rawValue])
            guard db.changesCount == 1 else { return .alreadyRan }
        }
        try db.cachedStatement(
            sql: """
                INSERT INTO run (id, task_id, one_off, command, plugin_id, function, isolation, scheduled_for, started_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """
        ).execute(arguments: [
            run.runID.rawValue, run.taskID, run.isOneOff, run.command, run.pluginID, run.function, run.isolation,
            run.scheduledFor?.milliseconds, run.startedAt.milliseconds,
        ])
        if let time = run.scheduledFor { try keepFireTime(of: run.taskID, time, db) }
        return .go
    }

    private static func keepFireTime(of taskID: String, _ time: Date, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                INSERT INTO schedule (task_id, last_fire) VALUES (?, ?)
                ON CONFLICT (task_id) DO UPDATE SET last_fire = MAX(last_fire, excluded.last_fire)
                """
        ).execute(arguments: [taskID, time.milliseconds])
    }

    /// False where no unfinished run has the id.
    private static func finish(
        _ runID: RunID, status: RunStatus, result: TaskResult, size: Int, now: Date, _ db: Database
    ) throws -> Bool {
        let finishedAt = (result.finishedAt ?? now).milliseconds
        let error = result.error
        try db.cachedStatement(
            sql: """
                UPDATE run SET status = ?, started_at = IFNULL(?, started_at), finished_at = ?, duration_ms = ?, isolation = IFNULL(?, isolation),
                    agent_version = ?, error_code = ?, error_type = ?, error_message = ?, error_traceback = ?,
                    data = ?, stdout = ?, stderr = ?, python_stack = ?
                WHERE id = ? AND status IS NULL
                """
        ).execute(arguments: [
            status.rawValue, result.startedAt?.milliseconds, finishedAt, result.durationMilliseconds, result.isolation,
            result.agentVersion,
            error?.code, error?.type, error?.message.bytes, error?.traceback?.bytes, result.data?.bytes,
            result.stdout?.bytes, result.stderr?.bytes, result.pythonStack?.bytes, runID.rawValue,
        ])
        guard db.changesCount == 1 else { return false }
        // Ready (0) or, behind an earlier result of its task, waiting (1).
        try db.cachedStatement(
            sql: """
                INSERT INTO outbox (run_id, task_id, size, queued_at, state)
                SELECT id, task_id, ?, ?,
                    EXISTS (SELECT 1 FROM outbox WHERE outbox.task_id = run.task_id AND state < 2)
                FROM run WHERE id = ?
                """
        ).execute(arguments: [size, finishedAt, runID.rawValue])
        return true
    }

    /// - Returns: whether its task was a one-off that may start again.
    @discardableResult
    private static func undoStart(_ run: RunStart, _ db: Database) throws -> Bool {
        try db.cachedStatement(sql: "DELETE FROM run WHERE id = ? AND status IS NULL")
            .execute(arguments: [run.runID.rawValue])
        guard db.changesCount == 1 else { return false }
        try db.cachedStatement(sql: "DELETE FROM one_off_task WHERE task_id = ? AND run_id = ?")
            .execute(arguments: [run.taskID, run.runID.rawValue])
        return db.changesCount == 1
    }

    /// Takes back the one-off tasks that the last agent had written down and not begun.
    static func undoStarts(allBut begun: Set<String>, _ db: Database) throws -> [RunStart] {
        let unfinished = try Row.fetchAll(db, sql: "SELECT * FROM run WHERE status IS NULL AND one_off ORDER BY id")
            .map { RunStart(row: $0) }
        let notBegun = unfinished.filter { !begun.contains($0.runID.rawValue) }
        for run in notBegun { try undoStart(run, db) }
        return notBegun
    }

    /// Gives every run that was left unfinished its result.
    static func recoverUnfinished(
        _ db: Database, now: Date, verdict: InterruptionVerdict
    ) throws -> [RunRecord] {
        let rows = try Row.fetchAll(db, sql: "SELECT * FROM run WHERE status IS NULL ORDER BY id")
        return try rows.map { row in
            let start = RunStart(row: row)
            let (status, error) = verdict(start)
            let result = TaskResult(data: nil, status: status, error: error, finishedAt: now)
            _ = try finish(
                start.runID, status: status, result: result, size: OutboxSize.bytes(of: result), now: now, db)
            return RunRecord(
                start: start, status: status, finishedAt: now, error: error,
                delivery: .pending(attempts: 0, nextAttempt: nil, reason: nil))
        }
    }
}
