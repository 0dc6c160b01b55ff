import BackendClient

/// What is known of a login: the tokens, and a code that waits for approval or was denied.
struct LoginRecord: Codable, Sendable, Equatable {
    /// Whom the tokens belong to; they are sent nowhere else.
    var origin: String
    var clientID: String
    var tokens: TokenSet?
    var pending: DeviceCode?
    /// The user code that a person said no to, until somebody asks for another login.
    var denied: String?

    var isEmpty: Bool { tokens == nil && pending == nil && denied == nil }

    /// - Parameter serverURL: nil for any.
    func isFor(serverURL: String?, clientID: String?) -> Bool {
        guard let serverURL else { return true }
        return (try? HTTPURL(serverURL))?.origin.description == origin
            && self.clientID == clientID ?? LoginSettings.defaultClientID
    }
}
