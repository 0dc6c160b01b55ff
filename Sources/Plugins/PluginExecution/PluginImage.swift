public import AgentModel
public import PythonEmbedding
public import Sandbox

/// A verified script, ready to be loaded: exactly the bytes that were hashed.
public struct PluginImage: Sendable {
    public var id: PluginID
    public var script: [UInt8]
    /// What tracebacks and `__file__` say. The file isn't read.
    public var path: String
    /// The script's SHA-512, hex, for the executor's observer.
    public var scriptHash: String
    /// How many calls of this plugin may run at the same time.
    public var concurrency: Int
    /// Of one call, nil for none. Loading has it too, and 60 seconds at most.
    public var timeLimit: Duration?
    /// Whether programs that a run has left when it returned stay; nil: in the agent's own process, and not in the sandbox.
    public var keepsPrograms: Bool?
    /// Is told what the script writes while it is loaded.
    public var onOutput: OutputObserver?
    /// What it may do in the sandbox; nil where it runs in the agent's own process.
    public var sandbox: SandboxPolicy?

    public init(
        id: PluginID, script: [UInt8], path: String, scriptHash: String = "", concurrency: Int = 1,
        timeLimit: Duration? = nil, keepsPrograms: Bool? = nil, sandbox: SandboxPolicy? = nil
    ) {
        self.keepsPrograms = keepsPrograms
        self.sandbox = sandbox
        self.scriptHash = scriptHash
        self.id = id
        self.script = script
        self.path = path
        self.concurrency = max(1, concurrency)
        self.timeLimit = timeLimit
    }
}
