import Cryptography
import Foundation
import GRDB

/// The administrator's sessions in a browser.
extension BackendService {
    /// In seconds, from the login on.
    static let sessionLifetime = 3600

    /// Begins a session for who shows the administration token.
    /// - Returns: The session's id, which is kept as a hash only; nil for a wrong token.
    func beginSession(token: String) async throws -> String? {
        guard try await isAdministrationToken(token) else { return nil }
        let session = try OpaqueToken.make(.session)
        let now = now()
        try await database.write { database in
            try database.execute(sql: "DELETE FROM administration_session WHERE expires_at <= ?", arguments: [now])
            try database.execute(
                sql: "INSERT INTO administration_session (sha512, expires_at) VALUES (?, ?)",
                arguments: [
                    OpaqueToken.hash(session).hex, now.addingTimeInterval(TimeInterval(Self.sessionLifetime)),
                ])
        }
        return session
    }

    func isSession(_ session: String) async throws -> Bool {
        let now = now()
        return try await database.read { database in
            try Row.fetchOne(
                database, sql: "SELECT 1 FROM administration_session WHERE sha512 = ? AND expires_at > ?",
                arguments: [OpaqueToken.hash(session).hex, now]) != nil
        }
    }

    func endSession(_ session: String) async throws {
        try await database.write { database in
            try database.execute(
                sql: "DELETE FROM administration_session WHERE sha512 = ?", arguments: [OpaqueToken.hash(session).hex])
        }
    }

    /// What a form carries to show that it is of a page of this session. Who knows it can't tell the session's id.
    static func formToken(of session: String) -> String {
        String(OpaqueToken.hash("form of " + session).hex.prefix(64))
    }
}
