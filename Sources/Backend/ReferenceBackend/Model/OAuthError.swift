/// Why an OAuth endpoint refuses, in the protocol's own codes (RFC 6749, section 5.2; RFC 8628, section 3.5).
public struct OAuthError: Error, Equatable, Sendable {
    /// The codes that are used here.
    public enum Code: String, Sendable {
        case invalidRequest = "invalid_request"
        case invalidClient = "invalid_client"
        case invalidGrant = "invalid_grant"
        case invalidScope = "invalid_scope"
        case unsupportedGrantType = "unsupported_grant_type"
        case authorizationPending = "authorization_pending"
        case slowDown = "slow_down"
        case accessDenied = "access_denied"
        case expiredToken = "expired_token"
        /// Of RFC 6749, section 4.1.2.1: too much is going on.
        case temporarilyUnavailable = "temporarily_unavailable"
        /// Of the same section: a fault in here.
        case serverError = "server_error"
    }

    public var code: Code
    /// For people, in printable ASCII without quotes and backslashes, as the RFC wants it.
    public var description: String
    /// With ``Code/slowDown``: how long to wait between polls from now on, in seconds.
    public var interval: Int?
    /// With ``Code/temporarilyUnavailable``: when to try again, in seconds.
    public var retryAfter: Int?

    init(_ code: Code, _ description: String, interval: Int? = nil, retryAfter: Int? = nil) {
        self.code = code
        self.description = description
        self.interval = interval
        self.retryAfter = retryAfter
    }
}
