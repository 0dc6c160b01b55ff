import Foundation
import GRDB

extension SQLiteTransaction {
    func token(_ hash: String) throws -> StoredToken? {
        let row = try row(
            """
            SELECT token.*, token_family.agent_id, token_family.client_id, token_family.scope, token_family.revoked
            FROM token JOIN token_family ON token_family.id = token.family_id WHERE sha512 = ?
            """, [hash])
        guard let row, let kind = StoredToken.Kind(rawValue: row["kind"]) else { return nil }
        return StoredToken(
            hash: hash, parent: row["parent"], family: row["family_id"], kind: kind, agentID: row["agent_id"],
            clientID: row["client_id"], scope: row["scope"], isUsed: row["used"], isRotated: row["rotated"],
            isSuperseded: row["superseded"], isRevoked: row["revoked"], expiresAt: row["expires_at"])
    }

    func hasUnusedSuccessor(of hash: String) throws -> Bool {
        try exists(
            """
            SELECT 1 FROM token WHERE parent = ? AND kind = 'refresh' AND NOT superseded AND NOT used AND NOT rotated
            """, [hash])
    }

    func tokenFamily(withSecret hash: String) throws -> StoredTokenFamily? {
        try row("SELECT id, restored_at FROM token_family WHERE secret_sha512 = ? AND NOT revoked", [hash])
            .map { StoredTokenFamily(id: $0["id"], restoredAt: $0["restored_at"]) }
    }

    func insertTokenFamily(agentID: String, clientID: String, scope: String, at now: Date) throws -> Int64 {
        try execute(
            "INSERT INTO token_family (agent_id, client_id, scope, created_at) VALUES (?, ?, ?, ?)",
            [agentID, clientID, scope, now])
        return database.lastInsertedRowID
    }

    func setSecret(_ hash: String, ofTokenFamily id: Int64) throws {
        try execute("UPDATE token_family SET secret_sha512 = ? WHERE id = ?", [hash, id])
    }

    func revokeTokenFamily(_ id: Int64) throws {
        try execute("UPDATE token_family SET revoked = 1 WHERE id = ?", [id])
    }

    func endRestoration(ofTokenFamily id: Int64) throws {
        try execute("UPDATE token_family SET restored_at = NULL WHERE id = ? AND restored_at IS NOT NULL", [id])
    }

    func deleteTokenFamilies(ofAgent agentID: String) throws {
        try execute("DELETE FROM token_family WHERE agent_id = ?", [agentID])
    }

    func insertToken(_ token: NewToken) throws {
        try execute(
            "INSERT INTO token (sha512, family_id, kind, expires_at, parent) VALUES (?, ?, ?, ?, ?)",
            [token.hash, token.family, token.kind.rawValue, token.expiresAt, token.parent])
    }

    func rotateToken(_ hash: String) throws {
        try execute("UPDATE token SET rotated = 1 WHERE sha512 = ?", [hash])
    }

    func useSuccessors(of hash: String) throws {
        try execute("UPDATE token SET used = 1 WHERE parent = ? AND NOT superseded", [hash])
    }

    func withdrawSuccessors(of hash: String) throws {
        try execute("DELETE FROM token WHERE parent = ? AND kind = 'access'", [hash])
        try execute("UPDATE token SET rotated = 1, superseded = 1 WHERE parent = ? AND kind = 'refresh'", [hash])
    }

    func supersedeRefreshTokens(ofFamily id: Int64) throws {
        try execute("UPDATE token SET rotated = 1, superseded = 1 WHERE family_id = ? AND kind = 'refresh'", [id])
    }

    func deleteToken(_ hash: String) throws { try execute("DELETE FROM token WHERE sha512 = ?", [hash]) }

    func deleteTokens(expiredAt now: Date) throws {
        guard try change("DELETE FROM token WHERE expires_at <= ?", [now]) else { return }
        try execute(
            """
            DELETE FROM token_family WHERE NOT EXISTS (SELECT 1 FROM token WHERE token.family_id = token_family.id)
            """)
    }
}
