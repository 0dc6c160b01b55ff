import Cryptography
import Foundation
import GRDB

extension BackendService {
    /// Makes the administration token where there is none yet.
    /// - Returns: The token, which can't be had again; nil where there was one already.
    public func createAdministrationToken() async throws -> String? {
        let token = try OpaqueToken.make(.administration)
        let now = now()
        return try await database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO administration_token (id, sha512, created_at) VALUES (1, ?, ?)
                    ON CONFLICT (id) DO NOTHING
                    """, arguments: [OpaqueToken.hash(token).hex, now])
            return database.changesCount == 0 ? nil : token
        }
    }

    /// Replaces the administration token; the old one is refused from now on, by a running server too, and who logged
    /// in with it is logged out.
    /// - Returns: The new token, which can't be had again.
    public func resetAdministrationToken() async throws -> String {
        let token = try OpaqueToken.make(.administration)
        let now = now()
        try await database.write { database in
            try database.execute(
                sql: "INSERT OR REPLACE INTO administration_token (id, sha512, created_at) VALUES (1, ?, ?)",
                arguments: [OpaqueToken.hash(token).hex, now])
            try database.execute(sql: "DELETE FROM administration_session")
        }
        return token
    }

    /// Whether a text is the administration token. How long it takes doesn't tell how much of it is right.
    public func isAdministrationToken(_ token: String) async throws -> Bool {
        let hex = try await database.read { database in
            try String.fetchOne(database, sql: "SELECT sha512 FROM administration_token WHERE id = 1")
        }
        guard let hex else { return false }
        return ConstantTime.isEqual(OpaqueToken.hash(token).bytes, try SHA512.Digest(hex: hex).bytes)
    }
}
