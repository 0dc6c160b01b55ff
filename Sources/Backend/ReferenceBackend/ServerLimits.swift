/// How much the backend takes in before it refuses more. Whoever reaches the port can make it do work; none of it may keep
/// it from answering others.
public struct ServerLimits: Sendable {
    /// How many connections are open at the same time. Beyond, the one that has waited longest for a request is closed;
    /// where all are at work, new ones get 503.
    public var maximumConnections: Int
    /// How long a new connection may take to send the head of its first request, in seconds.
    public var headTimeout: Double
    /// How long a connection may stay open between two requests, in seconds.
    public var idleTimeout: Double
    /// How long the other end may keep the backend waiting while it sends a body or takes an answer, in seconds. For each
    /// ``minimumRate`` bytes that it sent or took it has a second more.
    public var bodyTimeout: Double
    /// In bytes a second.
    public var minimumRate: Int
    /// What large bodies of requests and answers may take together, in bytes.
    public var maximumBodies: Int
    /// What the runs of one agent may take on disk, in bytes.
    public var maximumAgentStorage: Int

    /// How long a large body waits for room in memory before it is refused, in seconds.
    var bodyPatience: Double = 30

    public static let defaultMaximumConnections = 1000
    public static let defaultHeadTimeout: Double = 10
    public static let defaultIdleTimeout: Double = 75
    public static let defaultBodyTimeout: Double = 30
    /// 128 MiB.
    public static let defaultMaximumBodies = 128 << 20
    /// 10 GiB.
    public static let defaultMaximumAgentStorage = 10 << 30

    public init(
        maximumConnections: Int = ServerLimits.defaultMaximumConnections,
        headTimeout: Double = ServerLimits.defaultHeadTimeout, idleTimeout: Double = ServerLimits.defaultIdleTimeout,
        bodyTimeout: Double = ServerLimits.defaultBodyTimeout, minimumRate: Int = 16 << 10,
        maximumBodies: Int = ServerLimits.defaultMaximumBodies,
        maximumAgentStorage: Int = ServerLimits.defaultMaximumAgentStorage
    ) {
        self.maximumConnections = maximumConnections
        self.headTimeout = headTimeout
        self.idleTimeout = idleTimeout
        self.bodyTimeout = bodyTimeout
        self.minimumRate = minimumRate
        self.maximumBodies = maximumBodies
        self.maximumAgentStorage = maximumAgentStorage
    }

    /// Connections beyond the maximum that are still accepted, to be told that there are too many, and for `/healthz`.
    public static let reservedConnections = 64
}
