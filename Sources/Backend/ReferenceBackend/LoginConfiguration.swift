/// How logins with a device code go (RFC 8628), and how long what they give is good for.
public struct LoginConfiguration: Sendable {
    /// Where people and agents reach the backend; nil takes what each request names as its host.
    public var publicOrigin: WebOrigin?
    /// The clients that may log in; empty lets in any, since a public client's id proves nothing.
    public var clientIDs: Set<String>
    /// How long a code can be approved, in seconds.
    public var codeLifetime: Int
    /// How long a client waits between two polls, in seconds.
    public var pollInterval: Int
    /// In seconds.
    public var accessTokenLifetime: Int
    /// From its issue, in seconds. Each refresh gives a new one.
    public var refreshTokenLifetime: Int
    /// How many codes may wait for a decision at the same time. What a guess may hit grows with it
    /// (RFC 8628, section 5.1).
    public var maximumLiveCodes: Int
    /// How many codes one network gets within ``codeLifetime``.
    public var maximumCodesPerNetwork: Int

    /// 10 minutes.
    public static let defaultCodeLifetime = 600
    /// 1 hour.
    public static let defaultAccessTokenLifetime = 3600
    /// 90 days.
    public static let defaultRefreshTokenLifetime = 90 * 86400

    public init(
        publicOrigin: WebOrigin? = nil, clientIDs: Set<String> = [],
        codeLifetime: Int = LoginConfiguration.defaultCodeLifetime, pollInterval: Int = 5,
        accessTokenLifetime: Int = LoginConfiguration.defaultAccessTokenLifetime,
        refreshTokenLifetime: Int = LoginConfiguration.defaultRefreshTokenLifetime, maximumLiveCodes: Int = 10_000,
        maximumCodesPerNetwork: Int = 100
    ) {
        self.publicOrigin = publicOrigin
        self.clientIDs = clientIDs
        self.codeLifetime = codeLifetime
        self.pollInterval = pollInterval
        self.accessTokenLifetime = accessTokenLifetime
        self.refreshTokenLifetime = refreshTokenLifetime
        self.maximumLiveCodes = maximumLiveCodes
        self.maximumCodesPerNetwork = maximumCodesPerNetwork
    }
}
