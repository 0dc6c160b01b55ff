public import AgentModel
public import Foundation
import GRDB

/// Questions to the journal, answered from a snapshot without waiting for the writer.
public final class JournalReader: Sendable {
    private let reader: any DatabaseReader
    private let path: String

    init(reader: any DatabaseReader, path: String) {
        self.reader = reader
        self.path = path
    }

    /// Runs, the newest first, without their output.
    /// - Parameter before: only runs older than this one, for the next page.
    public func history(
        _ filter: HistoryFilter = HistoryFilter(), limit: Int = 100, before: RunID? = nil
    ) async throws(RunJournalError) -> [RunRecord] {
        try await read { db in
            var conditions: [String] = []
            var arguments: [any DatabaseValueConvertible] = []
            if let taskID = filter.taskID {
                conditions.append("run.task_id = ?")
                arguments.append(taskID)
            }
            if let status = filter.status {
                conditions.append("status = ?")
                arguments.append(status.rawValue)
            }
            if filter.isUnfinished { conditions.append("status IS NULL") }
            if let before {
                conditions.append("id < ?")
                arguments.append(before.rawValue)
            }
            let condition = conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
            arguments.append(max(0, limit))
            return try Row.fetchAll(
                db, sql: "SELECT \(RunRecord.columns) \(RunRecord.source) \(condition) ORDER BY id DESC LIMIT ?",
                arguments: StatementArguments(arguments)
            ).map { RunRecord(row: $0, isWhole: false) }
        }
    }

    /// One run with its output and traceback; nil where the journal has none of this id.
    public func run(_ id: RunID) async throws(RunJournalError) -> RunRecord? {
        try await read { db in
            try Row.fetchOne(
                db, sql: "SELECT \(RunRecord.wholeColumns) \(RunRecord.source) WHERE id = ?",
                arguments: [id.rawValue]
            ).map { RunRecord(row: $0, isWhole: true) }
        }
    }

    /// The ids of runs that end so, the newest first.
    ///
    /// - Parameter suffix: of hexadecimal digits and `-`.
    public func runIDs(endingWith suffix: String, limit: Int) async throws(RunJournalError) -> [RunID] {
        guard suffix.utf8.count < 36 else {
            guard let id = RunID(suffix) else { return [] }
            return try await run(id).map { [$0.runID] } ?? []
        }
        return try await read { db in
            try String.fetchAll(
                db, sql: "SELECT id FROM run WHERE substr(id, ?) = ? ORDER BY id DESC LIMIT ?",
                arguments: [-suffix.utf8.count, suffix, limit]
            ).map(RunID.init(stored:))
        }
    }

    /// How far the results of these runs have come; runs that the journal doesn't have are left out.
    public func deliveryStates(of runIDs: [RunID]) async throws(RunJournalError) -> [RunID: DeliveryState] {
        try await read { db in
            var states: [RunID: DeliveryState] = [:]
            let statement = try db.cachedStatement(
                sql: "SELECT \(RunRecord.columns) \(RunRecord.source) WHERE id = ?")
            for runID in runIDs {
                states[runID] = try Row.fetchOne(statement, arguments: [runID.rawValue])
                    .map { RunRecord(row: $0, isWhole: false).delivery }
            }
            return states
        }
    }

    /// Runs that were started and not finished, the oldest first.
    public func running() async throws(RunJournalError) -> [RunRecord] {
        try await read { db in
            try Row.fetchAll(
                db, sql: "SELECT \(RunRecord.columns) \(RunRecord.source) WHERE status IS NULL ORDER BY id"
            ).map { RunRecord(row: $0, isWhole: false) }
        }
    }

    /// What is in the outbox, the oldest first.
    public func outbox(_ state: OutboxEntry.State? = nil, limit: Int = 100) async throws(RunJournalError)
        -> [OutboxEntry]
    {
        let condition =
            switch state {
            case nil: ""
            case .pending: "WHERE state < 2"
            case .deadLetter: "WHERE state = 2"
            }
        return try await read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT outbox.*, run.status FROM outbox JOIN run ON run.id = outbox.run_id
                    \(condition) ORDER BY sequence LIMIT ?
                    """, arguments: [max(0, limit)]
            ).map(OutboxEntry.init(row:))
        }
    }

    /// The fire time kept of a schedule; nil where it has never fired.
    public func lastFireTime(of taskID: String) async throws(RunJournalError) -> Date? {
        try await read { db in
            try Int64.fetchOne(db, sql: "SELECT last_fire FROM schedule WHERE task_id = ?", arguments: [taskID])
                .map(Date.init(milliseconds:))
        }
    }

    /// The fire times kept of all schedules, by task id.
    public func lastFireTimes() async throws(RunJournalError) -> [TaskID: Date] {
        try await read { db in
            var times: [TaskID: Date] = [:]
            let rows = try Row.fetchCursor(db, sql: "SELECT task_id, last_fire FROM schedule")
            while let row = try rows.next() { times[TaskID(row[0])] = Date(milliseconds: row[1]) }
            return times
        }
    }

    public func counts() async throws(RunJournalError) -> JournalCounts {
        try await read { db in
            let all = try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM run") ?? 0
            let running = try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM run WHERE status IS NULL") ?? 0
            let outbox = try Row.fetchOne(
                db,
                sql: """
                    SELECT COUNT(*) FILTER (WHERE state < 2), COUNT(*) FILTER (WHERE state = 2),
                        CAST(TOTAL(size) AS INTEGER), MIN(queued_at) FILTER (WHERE state < 2) FROM outbox
                    """)
            return JournalCounts(
                running: running, finished: all - running, pending: outbox?[0] ?? 0, deadLetters: outbox?[1] ?? 0,
                outboxBytes: outbox?[2] ?? 0, oldestPending: (outbox?[3] as Int64?).map(Date.init(milliseconds:)),
                oneOffTasks: try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM one_off_task") ?? 0)
        }
    }

    func read<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(RunJournalError) -> Value {
        let path = self.path
        let result: Result<Value, RunJournalError> = await withCheckedContinuation { continuation in
            reader.asyncRead { access in
                do {
                    continuation.resume(returning: .success(try body(access.get())))
                } catch let error as DatabaseError where error.resultCode == .SQLITE_MISUSE {
                    continuation.resume(returning: .failure(.closed))
                } catch {
                    continuation.resume(returning: .failure(RunJournalError(error, path: path)))
                }
            }
        }
        return try result.get()
    }
}
