import AgentModel
public import Foundation
import GRDB
import Synchronization
import Threads

/// How often the code of a plugin took the agent down, and no run of the same method has succeeded since.
public struct PluginCrashes: Sendable, Equatable {
    public var pluginID: String
    /// The SHA-512 of the script, hex: another script begins at zero.
    public var scriptHash: String
    public var count: Int
    public var lastCrash: Date
    /// How the last one ended the process, such as `by the signal SIGSEGV`.
    public var cause: String

    /// So many in a row are no accident.
    public static let limit = 3

    /// Not run in the agent's process any more, until its script changes or a person releases it.
    public var isQuarantined: Bool { count >= Self.limit }
}

extension PluginCrashes {
    init(row: Row) {
        pluginID = row["plugin_id"]
        scriptHash = row["script_hash"]
        count = row["count"]
        lastCrash = Date(milliseconds: row["last_crash"])
        cause = row["cause"]
    }
}

extension RunJournal {
    /// Takes a plugin out of quarantine and forgets its crashes. A running agent notices at its next synchronization.
    /// - Returns: false where it had none.
    @discardableResult
    public func release(plugin id: String) async throws(RunJournalError) -> Bool {
        try await writer.perform { db in
            try db.execute(sql: "DELETE FROM plugin_crash WHERE plugin_id = ?", arguments: [id])
            return db.changesCount > 0
        } onCommit: { [self] _ in
            state.withLock { _ = $0.crashedPlugins.remove(id) }
        }
    }

    /// Counts a crash, by the method whose run it was. The same death counts once, however often the journal is opened
    /// after it.
    static func count(_ death: ProcessDeath, now: Date, _ db: Database) throws {
        let function =
            try death.runID.flatMap { run in
                try String.fetchOne(db, sql: "SELECT function FROM run WHERE id = ?", arguments: [run.rawValue])
            } ?? ""
        try db.execute(
            sql: "DELETE FROM plugin_crash WHERE plugin_id = ? AND script_hash <> ?",
            arguments: [death.pluginID, death.scriptHash])
        try db.execute(
            sql: """
                INSERT INTO plugin_crash (plugin_id, function, script_hash, count, last_crash, cause, session)
                VALUES (?, ?, ?, 1, ?, ?, ?)
                ON CONFLICT (plugin_id, function) DO UPDATE SET count = count + 1, last_crash = excluded.last_crash,
                    cause = excluded.cause, session = excluded.session
                WHERE session <> excluded.session
                """,
            arguments: [
                death.pluginID, function, death.scriptHash, now.milliseconds, death.sentence, death.session,
            ])
    }

    /// A run of a method succeeded: what comes next isn't in a row with its crashes, nor with those of loading. Those of
    /// other methods stay, and so does a quarantine.
    static func endRow(ofCrashesBy pluginID: String, function: String, _ db: Database) throws {
        try db.cachedStatement(
            sql: """
                DELETE FROM plugin_crash WHERE plugin_id = ?1 AND function IN (?2, '')
                    AND (SELECT SUM(count) FROM plugin_crash WHERE plugin_id = ?1) < \(PluginCrashes.limit)
                """
        ).execute(arguments: [pluginID, function])
    }
}

extension JournalReader {
    /// All plugins that took the agent down, by id, with the crashes of all their methods.
    public func pluginCrashes() async throws(RunJournalError) -> [String: PluginCrashes] {
        try await read { db in
            // The other columns are those of the last crash (SQLite, "Bare columns in an aggregate query").
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT plugin_id, script_hash, SUM(count) AS count, MAX(last_crash) AS last_crash, cause
                    FROM plugin_crash GROUP BY plugin_id
                    """
            ).map(PluginCrashes.init(row:))
            return Dictionary(rows.map { ($0.pluginID, $0) }, uniquingKeysWith: { $1 })
        }
    }
}
