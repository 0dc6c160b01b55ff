public import BackendClient
public import Foundation

/// The tokens of one login (RFC 6749, section 5.1).
public struct TokenSet: Codable, Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    let accessToken: String
    let refreshToken: String?
    /// How long the access token is good, in seconds from ``obtainedAt``; nil where the backend didn't say, or said what
    /// makes no sense. It is then used until it is refused.
    public let lifetime: Int?
    /// By this host's clock.
    public let obtainedAt: Date

    /// When the access token ends, by this host's clock.
    public var expiresAt: Date? { lifetime.map { obtainedAt.addingTimeInterval(TimeInterval($0)) } }
    /// Whether a new access token can be had without a person.
    public var isRefreshable: Bool { refreshToken != nil }

    public var description: String { "(hidden)" }

    // `dump` goes through the mirror and not through `description`.
    public var customMirror: Mirror { Mirror(self, children: []) }

    var authorization: Authorization { Authorization(bearer: accessToken) }

    /// Shows the access token and has no other: to ask whether the backend takes it.
    public var credentials: any CredentialProvider { FixedCredentials(value: authorization) }

    private struct FixedCredentials: CredentialProvider {
        let value: Authorization

        func authorization() async throws -> Authorization? { value }
        func replacement(for rejected: Authorization) async throws -> Authorization? { nil }
    }

    /// A refresh may give no new refresh token; the old one is good for the next time then (RFC 6749, section 6).
    func keeping(refreshTokenOf old: TokenSet) -> TokenSet {
        guard refreshToken == nil else { return self }
        return TokenSet(
            accessToken: accessToken, refreshToken: old.refreshToken, lifetime: lifetime, obtainedAt: obtainedAt)
    }

    static let longestLifetime = 365 * 86_400
    /// Bytes of a token at most: more than servers take in a header field.
    static let byteLimit = 16 << 10

    /// Why a text can't be sent as a bearer token (RFC 6750, section 2.1), or nil. Never names the text.
    static func problem(with token: String) -> String? {
        if token.isEmpty { return "it is empty" }
        if token.utf8.count > byteLimit { return "it has \(token.utf8.count) bytes, over the limit of \(byteLimit)" }
        guard token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return "it has a character that can't be sent"
        }
        return nil
    }
}
