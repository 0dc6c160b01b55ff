public import Foundation
import GRDB

extension RunJournal {
    /// Forgets runs that are delivered or discarded and older than `age`, or beyond the newest `count` of these.
    ///
    /// Runs in small transactions, so that runs start meanwhile. What is not delivered is kept whatever its age, and
    /// so are the ids of one-off tasks, for good.
    /// - Parameter age: since the delivery, in seconds; the default is 30 days.
    /// - Returns: How many runs were forgotten.
    @discardableResult
    public func prune(
        now: Date = Date(), olderThan age: TimeInterval = 30 * 86_400, keepingNewest count: Int = 100_000
    ) async throws(RunJournalError) -> Int {
        let step = 500
        // Once: counting goes through them all. What is delivered meanwhile is for the next time.
        let excess = try await reader.read { db in
            // The index on settled_at answers both.
            let settled = try Int.fetchOne(db, sql: "SELECT COUNT(*) FROM run WHERE settled_at IS NOT NULL") ?? 0
            let old =
                try Int.fetchOne(
                    db, sql: "SELECT COUNT(*) FROM run WHERE settled_at < ?",
                    arguments: [now.addingTimeInterval(-age).milliseconds]) ?? 0
            return max(settled - count, old)
        }
        var total = 0
        while total < excess {
            let limit = min(step, excess - total)
            let removed = try await writer.perform { db in
                try db.execute(
                    sql: """
                        DELETE FROM run WHERE rowid IN (
                            SELECT rowid FROM run WHERE settled_at IS NOT NULL ORDER BY settled_at, rowid LIMIT ?)
                        """, arguments: [limit])
                let removed = db.changesCount
                // Gives pages back to the file system, a few at a time.
                if removed > 0 { _ = try Row.fetchAll(db, sql: "PRAGMA incremental_vacuum(2000)") }
                return removed
            }
            // Another process may have removed some.
            if removed == 0 { break }
            total += removed
        }
        return total
    }
}
