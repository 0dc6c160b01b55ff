/// What the token endpoint answers with (RFC 6749, section 5.1).
public struct IssuedTokens: Sendable {
    public var accessToken: String
    /// Good for one refresh.
    public var refreshToken: String
    /// The access token's lifetime, in seconds.
    public var expiresIn: Int
    /// Empty where none was asked for.
    public var scope: String
}

extension IssuedTokens: Encodable {
    private enum CodingKeys: String, CodingKey {
        case accessToken = "access_token"
        case tokenType = "token_type"
        case expiresIn = "expires_in"
        case refreshToken = "refresh_token"
        case scope
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(accessToken, forKey: .accessToken)
        try container.encode("Bearer", forKey: .tokenType)
        try container.encode(expiresIn, forKey: .expiresIn)
        try container.encode(refreshToken, forKey: .refreshToken)
        if !scope.isEmpty { try container.encode(scope, forKey: .scope) }
    }
}
