import Foundation

/// A token as it is stored, by its SHA-512 only.
struct StoredToken: Sendable {
    enum Kind: String, Sendable {
        case access, refresh
    }

    var hash: String
    /// The hash of the refresh token that it came in place of.
    var parent: String?
    var family: Int64
    var kind: Kind
    var agentID: String
    var clientID: String
    var scope: String
    /// Whether it, or what came with it, was shown.
    var isUsed: Bool
    var isRotated: Bool
    /// Whether another came in its place because nobody had got it.
    var isSuperseded: Bool
    var isRevoked: Bool
    var expiresAt: Date
}

/// A token to store.
struct NewToken: Sendable {
    var hash: String
    /// The hash of the refresh token that it comes in place of.
    var parent: String?
    var family: Int64
    var kind: StoredToken.Kind
    var expiresAt: Date
}

/// All tokens that come of one login.
struct StoredTokenFamily: Sendable {
    var id: Int64
    /// When a backup was restored that it was in; nil once the agent was heard of since.
    var restoredAt: Date?
}
