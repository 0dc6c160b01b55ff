import Foundation
import GRDB

/// The backend's own id, the administrator's token and sessions, and changes that the server has not logged.
extension SQLiteTransaction {
    func backendID() throws -> String {
        try String.fetchOne(database, sql: "SELECT backend_id FROM backend") ?? ""
    }

    func administrationTokenHash() throws -> String? {
        try String.fetchOne(database, sql: "SELECT sha512 FROM administration_token WHERE id = 1")
    }

    func insertAdministrationToken(_ hash: String, at now: Date) throws -> Bool {
        try change(
            """
            INSERT INTO administration_token (id, sha512, created_at) VALUES (1, ?, ?) ON CONFLICT (id) DO NOTHING
            """, [hash, now])
    }

    func replaceAdministrationToken(_ hash: String, at now: Date) throws {
        try execute(
            "INSERT OR REPLACE INTO administration_token (id, sha512, created_at) VALUES (1, ?, ?)", [hash, now])
        try execute("DELETE FROM administration_session")
    }

    func hasSession(_ hash: String, at now: Date) throws -> Bool {
        try exists("SELECT 1 FROM administration_session WHERE sha512 = ? AND expires_at > ?", [hash, now])
    }

    func insertSession(_ hash: String, until end: Date, at now: Date) throws {
        try execute("DELETE FROM administration_session WHERE expires_at <= ?", [now])
        try execute("INSERT INTO administration_session (sha512, expires_at) VALUES (?, ?)", [hash, end])
    }

    func deleteSession(_ hash: String) throws {
        try execute("DELETE FROM administration_session WHERE sha512 = ?", [hash])
    }

    func hasChanges() throws -> Bool { try exists("SELECT 1 FROM unlogged_change", []) }

    func insertChange(_ change: CommandChange) throws {
        try execute(
            "INSERT INTO unlogged_change (made_at, by, what) VALUES (?, ?, ?)", [change.madeAt, change.by, change.what])
    }

    func takeChanges() throws -> [CommandChange] {
        let rows = try rows("DELETE FROM unlogged_change RETURNING sequence, made_at, by, what", [])
        return rows.sorted { ($0["sequence"] as Int64) < ($1["sequence"] as Int64) }.map {
            CommandChange(madeAt: $0["made_at"], by: $0["by"], what: $0["what"])
        }
    }
}
