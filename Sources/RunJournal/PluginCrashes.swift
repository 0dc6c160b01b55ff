import AgentModel
public import Foundation
import GRDB
import Synchronization

/// How often the code of a plugin took the agent down since a run of it last succeeded.
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

    /// Counts a crash. The same death counts once, however often the journal is opened after it.
    static func count(_ death: ProcessDeath, now: Date, _ db: Database) throws {
        try db.execute(
            sql: "DELETE FROM plugin_crash WHERE plugin_id = ? AND script_hash <> ?",
            arguments: [death.pluginID, death.scriptHash])
        try db.execute(
            sql: """
                INSERT INTO plugin_crash (plugin_id, script_hash, count, last_crash, cause, session)
                VALUES (?, ?, 1, ?, ?, ?)
                ON CONFLICT (plugin_id) DO UPDATE SET count = count + 1, last_crash = excluded.last_crash,
                    cause = excluded.cause, session = excluded.session
                WHERE session <> excluded.session
                """,
            arguments: [death.pluginID, death.scriptHash, now.milliseconds, death.sentence, death.session])
    }

    /// A run of the plugin succeeded: what comes next isn't in a row with what was. A quarantine stays.
    static func endRow(ofCrashesBy pluginID: String, _ db: Database) throws {
        try db.cachedStatement(sql: "DELETE FROM plugin_crash WHERE plugin_id = ? AND count < \(PluginCrashes.limit)")
            .execute(arguments: [pluginID])
    }
}

extension JournalReader {
    /// All plugins that took the agent down since a run of theirs last succeeded, by id.
    public func pluginCrashes() async throws(RunJournalError) -> [String: PluginCrashes] {
        try await read { db in
            let rows = try Row.fetchAll(db, sql: "SELECT * FROM plugin_crash").map(PluginCrashes.init(row:))
            return Dictionary(rows.map { ($0.pluginID, $0) }, uniquingKeysWith: { $1 })
        }
    }
}
