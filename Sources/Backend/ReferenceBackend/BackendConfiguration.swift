public import Foundation

/// How the backend knows which agent is speaking.
public enum AgentAuthentication: String, Sendable, CaseIterable {
    /// By the access token that it got after a person approved its code (RFC 8628).
    case device
    /// By the address of its connection; one that isn't known yet is registered.
    case none
}

/// What a backend is started with.
public struct BackendConfiguration: Sendable {
    public var listen: ListenAddress
    /// Made with mode 0700 where it isn't there.
    public var dataFolder: URL
    /// Whether a database is made.
    public var creation: DatabaseCreation
    /// A folder with `agent.json`, `tasks.json` and `plugin-ID.json` to take in at each start.
    public var seedFolder: URL?
    public var authentication: AgentAuthentication
    /// What `AgentAuthentication.device` goes by.
    public var login: LoginConfiguration
    /// The largest body of `POST /api/agent/task/{TASK_ID}`, in bytes.
    public var maximumResultSize: Int
    public var limits: ServerLimits
    /// For how long runs are kept after they came in, in days; nil for ever.
    public var runRetention: Int?
    /// The proxies whose `X-Forwarded-For` is believed.
    public var trustedProxies: [AddressRange]

    /// 64 MiB.
    public static let defaultMaximumResultSize = 64 << 20

    public init(
        listen: ListenAddress = ListenAddress(host: "127.0.0.1", port: 8787), dataFolder: URL,
        creation: DatabaseCreation = .never, seedFolder: URL? = nil,
        authentication: AgentAuthentication = .device, login: LoginConfiguration = LoginConfiguration(),
        maximumResultSize: Int = BackendConfiguration.defaultMaximumResultSize, limits: ServerLimits = ServerLimits(),
        runRetention: Int? = nil, trustedProxies: [AddressRange] = []
    ) {
        self.listen = listen
        self.dataFolder = dataFolder
        self.creation = creation
        self.seedFolder = seedFolder
        self.authentication = authentication
        self.login = login
        self.maximumResultSize = maximumResultSize
        self.limits = limits
        self.runRetention = runRetention
        self.trustedProxies = trustedProxies
    }
}
