/// How a chaos run goes.
public struct ChaosOptions: Sendable {
    /// The built `runbook-agent`.
    public var agent: String
    /// How often the agent is killed.
    public var kills: Int
    public var seed: UInt64
    /// How many one-off tasks are made before each kill, on average.
    public var oneOffsPerKill: Int
    /// How many of 100 requests meet something on their way.
    public var faultPercent: Int
    /// How long the agent may take at the end until the backend has everything.
    public var settleLimit: Duration
    /// Whether a plugin is there that holds the interpreter's lock for ever: each such call costs 20 s where nothing
    /// kills the agent before.
    public var includesWedging: Bool
    /// Whether the folder stays also where nothing was wrong.
    public var keepsFolder: Bool

    public init(
        agent: String, kills: Int, seed: UInt64, oneOffsPerKill: Int = 3, faultPercent: Int = 25,
        settleLimit: Duration = .seconds(900), includesWedging: Bool = true, keepsFolder: Bool = false
    ) {
        self.agent = agent
        self.kills = kills
        self.seed = seed
        self.oneOffsPerKill = oneOffsPerKill
        self.faultPercent = faultPercent
        self.settleLimit = settleLimit
        self.includesWedging = includesWedging
        self.keepsFolder = keepsFolder
    }
}
