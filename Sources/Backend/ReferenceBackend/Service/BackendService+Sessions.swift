import Cryptography
import Foundation

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
        let end = now.addingTimeInterval(TimeInterval(Self.sessionLifetime))
        try await storage.write { try $0.insertSession(OpaqueToken.hash(session).hex, until: end, at: now) }
        return session
    }

    func isSession(_ session: String) async throws -> Bool {
        let now = now()
        return try await storage.read { try $0.hasSession(OpaqueToken.hash(session).hex, at: now) }
    }

    func endSession(_ session: String) async throws {
        try await storage.write { try $0.deleteSession(OpaqueToken.hash(session).hex) }
    }

    /// What a form carries to show that it is of a page of this session. Who knows it can't tell the session's id.
    static func formToken(of session: String) -> String {
        String(OpaqueToken.hash("form of " + session).hex.prefix(64))
    }
}
