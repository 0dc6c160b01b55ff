import BackendClient
import Foundation

/// What is known of a login: the tokens, and a code that waits for approval or was denied.
struct LoginRecord: Codable, Sendable, Equatable {
    /// Whom the tokens belong to; they are sent nowhere else.
    var origin: String
    var clientID: String
    var tokens: TokenSet?
    var pending: DeviceCode?
    /// The user code that a person said no to, until somebody asks for another login.
    var denied: String?
    /// A login that the backend doesn't know any more, and that is tried again.
    var setAside: SetAside?
    /// The `backend_id` of the backend that the tokens are of, once it was seen.
    var backendID: String?
    /// The `backend_id` of a backend that answers in its place.
    var otherBackendID: String?

    /// Tokens that were refused with `invalid_grant`.
    struct SetAside: Codable, Sendable, Equatable {
        var tokens: TokenSet
        /// When they were refused first, by this host's clock.
        var since: Date
        /// How often they were tried again.
        var attempts = 0
        var nextAttempt: Date

        /// How long they are tried.
        static let lifetime: TimeInterval = 86_400
        private static let firstPause: TimeInterval = 60
        private static let longestPause: TimeInterval = 3600

        init(tokens: TokenSet, since: Date) {
            self.tokens = tokens
            self.since = since
            nextAttempt = since.addingTimeInterval(Self.firstPause)
        }

        var end: Date { since.addingTimeInterval(Self.lifetime) }

        /// A clock that was set back makes nothing wait.
        func isDue(_ now: Date) -> Bool { now >= nextAttempt || now < since }

        mutating func attempted(_ now: Date) {
            attempts += 1
            let pause = min(Self.longestPause, Self.firstPause * Double(1 << min(attempts, 10)))
            nextAttempt = now.addingTimeInterval(pause * Double.random(in: 0.75...1.25))
            if now < since { since = now }
        }
    }

    var isEmpty: Bool { tokens == nil && pending == nil && denied == nil && setAside == nil }

    /// - Parameter serverURL: nil for any.
    func isFor(serverURL: String?, clientID: String?) -> Bool {
        guard let serverURL else { return true }
        return (try? HTTPURL(serverURL))?.origin.description == origin
            && self.clientID == clientID ?? LoginSettings.defaultClientID
    }
}
