/// The value of an `Authorization` field. It is shown nowhere.
public struct Authorization: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    let fieldValue: String

    /// A bearer token (RFC 6750, section 2.1).
    public init(bearer token: String) { fieldValue = "Bearer \(token)" }

    public var description: String { "(hidden)" }

    // `dump` goes through the mirror and not through `description`.
    public var customMirror: Mirror { Mirror(self, children: []) }

    var header: HTTPHeader { HTTPHeader(name: "Authorization", value: fieldValue, isSecret: true) }
}

/// Where a client gets the credentials that it sends.
public protocol CredentialProvider: Sendable {
    /// What to send with the next request; nil to send nothing.
    func authorization() async throws -> Authorization?

    /// Called after a `401` with what was sent. Gives back other credentials, and the request is sent once more with
    /// them; or nil, and the `401` stands.
    func replacement(for rejected: Authorization) async throws -> Authorization?
}

/// `auth = False`: the backend knows the agent some other way.
public struct NoCredentials: CredentialProvider {
    public init() {}
    public func authorization() async throws -> Authorization? { nil }
    public func replacement(for rejected: Authorization) async throws -> Authorization? { nil }
}
