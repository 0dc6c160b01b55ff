import AgentModel
public import Foundation
import GRDB
import Synchronization
import Threads

/// Something that only the running agent knows, written down for those who look at the journal.
public struct JournalSnapshot: Sendable, Equatable {
    /// The text of a JSON value.
    public var json: String
    public var writtenAt: Date
}

extension RunJournal {
    /// Keeps JSON texts under their names, in one transaction, in place of what was there.
    ///
    /// For people who look: nothing that a run depends on is kept so, and a journal that was recovered has lost it.
    public func keep(snapshots: [String: String], at time: Date) async throws(RunJournalError) {
        try await writer.perform { db in
            let statement = try db.cachedStatement(
                sql: "INSERT OR REPLACE INTO snapshot (name, value, written_at) VALUES (?, ?, ?)")
            for (name, json) in snapshots { try statement.execute(arguments: [name, json, time.milliseconds]) }
        }
    }

    /// Whether another process has changed the journal since this was last asked, or since it was opened; for a journal
    /// that was opened beside a running agent, false the first time.
    public func wasChangedByAnother() async throws(RunJournalError) -> Bool {
        // On the one connection that writes here, so that only others' commits count.
        let version = try await writer.perform { db in try Self.dataVersion(db) }
        return state.withLock { state in
            let known = exchange(&state.watchedVersion, with: version)
            return known != nil && known != version
        }
    }
}

extension JournalReader {
    /// What ``RunJournal/keep(snapshots:at:)`` kept, by name. Empty where an agent without snapshots made the journal.
    public func snapshots() async throws(RunJournalError) -> [String: JournalSnapshot] {
        try await read { db in
            // A reader migrates nothing.
            guard try db.tableExists("snapshot") else { return [:] }
            var snapshots: [String: JournalSnapshot] = [:]
            let rows = try Row.fetchCursor(db, sql: "SELECT name, value, written_at FROM snapshot")
            while let row = try rows.next() {
                snapshots[row[0]] = JournalSnapshot(json: row[1], writtenAt: Date(milliseconds: row[2]))
            }
            return snapshots
        }
    }
}
