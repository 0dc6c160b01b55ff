import Cryptography
import Foundation

extension BackendService {
    /// Makes the administration token where there is none yet.
    /// - Returns: The token, which can't be had again; nil where there was one already.
    public func createAdministrationToken() async throws -> String? {
        let token = try OpaqueToken.make(.administration)
        let now = now()
        return try await storage.write { storage in
            try storage.insertAdministrationToken(OpaqueToken.hash(token).hex, at: now) ? token : nil
        }
    }

    /// Replaces the administration token; the old one is refused from now on, by a running server too, and who logged
    /// in with it is logged out.
    /// - Returns: The new token, which can't be had again.
    public func resetAdministrationToken() async throws -> String {
        let token = try OpaqueToken.make(.administration)
        let now = now()
        try await storage.write { try $0.replaceAdministrationToken(OpaqueToken.hash(token).hex, at: now) }
        return token
    }

    /// Whether a text is the administration token. How long it takes doesn't tell how much of it is right.
    public func isAdministrationToken(_ token: String) async throws -> Bool {
        guard let hex = try await storage.read({ try $0.administrationTokenHash() }) else { return false }
        return ConstantTime.isEqual(OpaqueToken.hash(token).bytes, try SHA512.Digest(hex: hex).bytes)
    }
}
