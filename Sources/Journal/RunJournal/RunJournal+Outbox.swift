import AgentModel
public import Foundation
import GRDB
import Threads

extension RunJournal {
    /// Hands out results whose time has come, each until it is reported on by ``delivered(_:at:)``,
    /// ``deferred(_:until:reason:now:)`` or ``deadLettered(_:reason:now:)``, or the journal is opened anew.
    ///
    /// No more than 8 MiB at a time, or one result. A task's later result is not handed out while an earlier one is pending. Where the clock was set back,
    /// results deferred before that are due at once.
    public func nextDeliveries(limit: Int, now: Date = Date()) async throws(RunJournalError) -> [Delivery] {
        let lease = Lease()
        do {
            let (deliveries, _, _) = try await writer.perform(.read) { [self] db in
                release(lease.taken.withLock { exchange(&$0, with: []) })
                if clockWentBack(to: now) { try Self.resetDeferrals(beyond: now, db) }
                let deliveries = try due(limit: limit, now: now, db)
                lease.taken.withLock { $0 = deliveries.map(\.runID) }
                state.withLock { $0.leased.formUnion(deliveries.map(\.runID)) }
                let version = try Self.dataVersion(db)
                return (deliveries, version, try outboxBytesIfForeign(version, db))
            } onCommit: { [self] _, version, bytes in
                state.withLock {
                    // Not before: what was asked in a transaction that failed is asked a second time.
                    $0.dataVersion = version
                    if let bytes { $0.outboxBytes = bytes }
                }
            }
            return deliveries
        } catch {
            release(lease.taken.withLock { $0 })
            throw error
        }
    }

    /// When the next result that isn't handed out is due: in the past where one is due already, nil where none waits.
    public func nextDeliveryTime() async throws(RunJournalError) -> Date? {
        try await writer.perform(.read) { [self] db in
            let leased = state.withLock { $0.leased }
            let rows = try Row.fetchCursor(
                db,
                sql: "SELECT run_id, next_attempt FROM outbox WHERE state = 0 ORDER BY next_attempt, sequence LIMIT ?",
                arguments: [leased.count + 1])
            while let row = try rows.next() {
                if !leased.contains(RunID(stored: row[0])) { return Date(milliseconds: row[1]) }
            }
            return nil
        }
    }

    /// Takes back a result that was handed out and of which nothing became: it is due as it was before.
    public func releaseLease(_ runID: RunID) { release([runID]) }

    /// The backend has these results. Saying so twice changes nothing.
    public func delivered(_ runIDs: [RunID], at time: Date = Date()) async throws(RunJournalError) {
        try await settle(runIDs, discarded: false, at: time)
    }

    /// The result could not be delivered and is tried again.
    ///
    /// - Parameters:
    ///   - reason: kept for people.
    ///   - countsAttempt: false where it wasn't this result's fault at all.
    public func deferred(
        _ runID: RunID, until time: Date, reason: String, countsAttempt: Bool = true, now: Date = Date()
    ) async throws(RunJournalError) {
        // Forgotten, it would only be tried again sooner: it waits for others to share their sync.
        try await writer.perform(.soon) { db in
            try db.cachedStatement(
                sql: """
                    UPDATE outbox SET attempts = attempts + ?, attempted_at = ?, next_attempt = ?, reason = ?
                    WHERE run_id = ? AND state < 2
                    """
            ).execute(arguments: [
                countsAttempt ? 1 : 0, now.milliseconds, time.milliseconds, reason, runID.rawValue,
            ])
        } onCommit: { [self] in
            release([runID])
        }
    }

    /// The backend will not take the result: it is kept, and not tried again until a person asks for it.
    ///
    /// Later results of its task go on.
    public func deadLettered(_ runID: RunID, reason: String, now: Date = Date()) async throws(RunJournalError) {
        try await writer.perform { db in
            let taskID = try String.fetchOne(
                db.cachedStatement(
                    sql: """
                        UPDATE outbox SET state = \(Schema.OutboxState.dead), attempts = attempts + 1,
                            attempted_at = ?, reason = ?
                        WHERE run_id = ? AND state < 2 RETURNING task_id
                        """), arguments: [now.milliseconds, reason, runID.rawValue])
            if let taskID { try Self.promoteFirst(of: taskID, db) }
        } onCommit: { [self] in
            release([runID])
        }
    }

    /// Makes dead letters pending again, all of them where `runIDs` is nil. Each is due at once.
    /// - Returns: How many there were.
    @discardableResult
    public func retryDeadLetters(_ runIDs: [RunID]? = nil) async throws(RunJournalError) -> Int {
        try await writer.perform { db in
            let dead = Schema.OutboxState.dead
            let chosen =
                try runIDs?.map(\.rawValue)
                ?? String.fetchAll(db, sql: "SELECT run_id FROM outbox WHERE state = \(dead)")
            var count = 0
            for runID in chosen {
                let taskID = try String.fetchOne(
                    db.cachedStatement(
                        sql: """
                            UPDATE outbox SET state = \(Schema.OutboxState.waiting), attempts = 0, next_attempt = 0
                            WHERE run_id = ? AND state = \(dead) RETURNING task_id
                            """), arguments: [runID])
                guard let taskID else { continue }
                count += 1
                // It is older than what waits, so that it goes first.
                try db.cachedStatement(
                    sql: "UPDATE outbox SET state = \(Schema.OutboxState.waiting) WHERE task_id = ? AND state = 0"
                ).execute(arguments: [taskID])
                try Self.promoteFirst(of: taskID, db)
            }
            return count
        }
    }

    /// Takes results out of the outbox undelivered; the runs stay in the history.
    /// - Returns: How many there were.
    @discardableResult
    public func discard(_ runIDs: [RunID], at time: Date = Date()) async throws(RunJournalError) -> Int {
        try await settle(runIDs, discarded: true, at: time)
    }

    @discardableResult
    private func settle(_ runIDs: [RunID], discarded: Bool, at time: Date) async throws(RunJournalError) -> Int {
        // The backend has it: what is lost when it isn't written down is one more attempt.
        let (count, _) = try await writer.perform(.soon) { db in
            let settled = try Row.fetchAll(
                db.cachedStatement(
                    sql: """
                        DELETE FROM outbox WHERE run_id IN (SELECT value FROM json_each(?))
                        RETURNING run_id, task_id, size
                        """), arguments: [try Self.json(runIDs.map(\.rawValue))])
            try db.cachedStatement(
                sql: "UPDATE run SET settled_at = ?, discarded = ? WHERE id IN (SELECT value FROM json_each(?))"
            ).execute(arguments: [time.milliseconds, discarded, try Self.json(settled.map { $0[0] })])
            try Self.promoteFirst(of: settled.map { $0[1] }, db)
            return (settled.count, settled.reduce(0) { $0 + ($1[2] as Int) })
        } onCommit: { [self] _, bytes in
            state.withLock {
                $0.outboxBytes = max(0, $0.outboxBytes - bytes)
                $0.leased.subtract(runIDs)
            }
        }
        return count
    }

    private static func json(_ texts: [String]) throws -> String {
        // Ids mostly need no escapes, and to make an encoder costs more than the statement.
        let isPlain = texts.allSatisfy { text in
            text.utf8.allSatisfy { (0x20..<0x7F).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
        }
        if isPlain { return texts.isEmpty ? "[]" : "[\"\(texts.joined(separator: "\",\""))\"]" }
        return String(decoding: try JSONEncoder().encode(texts), as: UTF8.self)
    }

    /// Bytes of results that are handed out together.
    private static let handOutLimit = 8 << 20

    private func due(limit: Int, now: Date, _ db: Database) throws -> [Delivery] {
        guard limit > 0 else { return [] }
        let leased = state.withLock { $0.leased }
        // Narrow rows first: those that are handed out stand in front.
        let candidates = try String.fetchAll(
            db.cachedStatement(
                sql: """
                    SELECT run_id FROM outbox WHERE state = 0 AND next_attempt <= ?
                    ORDER BY next_attempt, sequence LIMIT ?
                    """), arguments: [now.milliseconds, limit + leased.count])
        let chosen = candidates.lazy.filter { !leased.contains(RunID(stored: $0)) }.prefix(limit)
        let rows = try Row.fetchCursor(
            db.cachedStatement(
                sql: """
                    SELECT \(RunRecord.resultColumns), run.task_id, outbox.attempts, outbox.size
                    FROM outbox JOIN run ON run.id = outbox.run_id
                    WHERE outbox.run_id IN (SELECT value FROM json_each(?)) ORDER BY next_attempt, sequence
                    """), arguments: [try Self.json(Array(chosen))])
        var deliveries: [Delivery] = []
        var bytes = 0
        while bytes < Self.handOutLimit, let row = try rows.next() {
            let next = RunRecord.resultColumnCount
            let size: Int = row[next + 2]
            deliveries.append(
                Delivery(
                    runID: RunID(stored: row[0]), taskID: row[next], result: RunRecord.result(row),
                    attempts: row[next + 1], size: size))
            bytes += size
        }
        return deliveries
    }

    private func clockWentBack(to now: Date) -> Bool {
        state.withLock { state in
            // Less than a second is the jitter of two callers.
            let wentBack = now < state.latestTime.addingTimeInterval(-1)
            state.latestTime = wentBack ? now : max(now, state.latestTime)
            return wentBack
        }
    }

    /// SQLite's number of changes made by others, as the one connection that writes here sees it.
    static func dataVersion(_ db: Database) throws -> Int64? { try Int64.fetchOne(db, sql: "PRAGMA data_version") }

    /// The outbox's size where another process has changed the database since the last version that is known.
    private func outboxBytesIfForeign(_ version: Int64?, _ db: Database) throws -> Int? {
        if state.withLock({ $0.dataVersion == version }) { return nil }
        return try Int.fetchOne(db, sql: "SELECT TOTAL(size) FROM outbox")
    }

    private func release(_ runIDs: [RunID]) { state.withLock { $0.leased.subtract(runIDs) } }

    /// Makes results due that were deferred by a clock that was ahead of `now`.
    static func resetDeferrals(beyond now: Date, _ db: Database) throws {
        try db.execute(
            sql: "UPDATE outbox SET next_attempt = 0, attempted_at = NULL WHERE state < 2 AND attempted_at > ?",
            arguments: [now.milliseconds])
    }

    private static func promoteFirst(of taskID: String, _ db: Database) throws {
        try promoteFirst(of: [taskID], db)
    }

    /// The first pending result of each of the tasks is ready.
    private static func promoteFirst(of taskIDs: [String], _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                UPDATE outbox SET state = \(Schema.OutboxState.ready) WHERE sequence IN (
                    SELECT (SELECT MIN(sequence) FROM outbox WHERE task_id = value AND state < 2) FROM json_each(?))
                """
        ).execute(arguments: [try json(taskIDs)])
    }
}

/// What one call of ``RunJournal/nextDeliveries(limit:now:)`` has taken, to give back where its transaction fails.
private final class Lease: Sendable {
    let taken = BlockingLock<[RunID]>([])
}
