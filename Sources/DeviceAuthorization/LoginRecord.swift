import BackendClient

/// What is known of a login: the tokens, and a code that waits for approval.
struct LoginRecord: Codable, Sendable, Equatable {
    /// Whom the tokens belong to; they are sent nowhere else.
    var origin: String
    var clientID: String
    var tokens: TokenSet?
    var pending: DeviceCode?

    var isEmpty: Bool { tokens == nil && pending == nil }

    /// - Parameter serverURL: nil for any.
    func isFor(serverURL: String?, clientID: String?) -> Bool {
        guard let serverURL else { return true }
        return (try? HTTPURL(serverURL))?.origin.description == origin
            && self.clientID == clientID ?? LoginSettings.defaultClientID
    }
}
