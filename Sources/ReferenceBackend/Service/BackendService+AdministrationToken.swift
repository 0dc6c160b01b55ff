import Cryptography
import Foundation
import GRDB

extension BackendService {
    /// Makes the administration token where there is none yet.
    /// - Returns: The token, which can't be had again; nil where there was one already.
    public func createAdministrationToken() async throws -> String? {
        let token = try Self.newToken()
        let now = now()
        return try await database.write { database in
            try database.execute(
                sql: """
                    INSERT INTO administration_token (id, sha512, created_at) VALUES (1, ?, ?)
                    ON CONFLICT (id) DO NOTHING
                    """, arguments: [Self.hash(token).hex, now])
            return database.changesCount == 0 ? nil : token
        }
    }

    /// Replaces the administration token; the old one is refused from now on, by a running server too.
    /// - Returns: The new token, which can't be had again.
    public func resetAdministrationToken() async throws -> String {
        let token = try Self.newToken()
        let now = now()
        try await database.write { database in
            try database.execute(
                sql: "INSERT OR REPLACE INTO administration_token (id, sha512, created_at) VALUES (1, ?, ?)",
                arguments: [Self.hash(token).hex, now])
        }
        return token
    }

    /// Whether a text is the administration token. How long it takes doesn't tell how much of it is right.
    public func isAdministrationToken(_ token: String) async throws -> Bool {
        let hex = try await database.read { database in
            try String.fetchOne(database, sql: "SELECT sha512 FROM administration_token WHERE id = 1")
        }
        guard let hex else { return false }
        return ConstantTime.isEqual(Self.hash(token).bytes, try SHA512.Digest(hex: hex).bytes)
    }

    // 256 random bits, so that a plain hash suffices: there is nothing to guess that a slow one would protect.
    private static func newToken() throws -> String {
        try SecureRandom.bytes(32).reduce(into: "rba_") { text, byte in
            text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }

    private static func hash(_ token: String) -> SHA512.Digest { SHA512.hash(token.utf8) }
}
