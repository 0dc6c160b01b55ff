import DeviceAuthorization
public import Sandbox

/// Everything that can be set about an agent.
///
/// Made by ``load(file:overrides:environment:requiresServer:defaultFile:)``; `docs/configuration.md` describes each
/// setting. All paths are absolute.
public struct AgentConfiguration: Sendable, Equatable {
    // More than a dozen properties: a property for each setting.
    /// The file that was read, if any.
    public var file: String?
    /// Without a trailing slash. Nil only where it was loaded without requiring one.
    public var serverURL: String?
    public var clientID: String?
    /// Whether the agent logs in; otherwise the backend knows it by other means.
    public var auth = true
    /// Whether the token may go to another host over plain http.
    public var allowInsecure = false
    /// Of the tokens that are asked for.
    public var scope: String?
    public var deviceCodePath = LoginSettings.defaultDeviceCodePath
    public var tokenPath = LoginSettings.defaultTokenPath
    public var revocationPath = LoginSettings.defaultRevocationPath
    /// The key that the tokens are sealed with, where it was set.
    public var keyFile: String?
    /// Where it is otherwise.
    public var defaultKeyFile: String
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    public var credentialsDirectory: String?
    /// Whether every plugin is fetched anew at each sync.
    public var forceRedownload = false
    public var pluginDirectory: String
    public var stateDirectory: String
    public var pollInterval = Duration.seconds(60)
    /// Calls at the same time.
    public var workers = 4
    /// Calls at the same time, those included that have waited in the kernel for some seconds; nil for four times
    /// `workers`.
    public var workersMax: Int?
    /// A tzdata name, unchecked; nil is the host's zone.
    public var timezone: String?
    /// Folders put in front of `sys.path`.
    public var pythonPath: [String] = []
    public var resultFormat = ResultFormat.extended
    /// Certificates to trust, PEM; nil for those of the system.
    public var caFile: String?
    public var clientCertificate: String?
    public var clientKey: String?
    public var connectTimeout = Duration.seconds(10)
    /// Of a whole request.
    public var requestTimeout = Duration.seconds(60)
    /// Days that delivered runs are kept.
    public var historyDays = 30
    /// Delivered runs that are kept at most.
    public var historyLimit = 100_000
    /// What becomes of fire times that passed while no agent ran.
    public var missedRuns = Scheduler.MissedRuns.skip
    /// Bytes of results that the backend doesn't have yet, past which nothing new is run.
    public var outboxLimit = 1 << 30
    /// Bytes of UTF-8 that the result of one run may have.
    public var resultLimit = 16 << 20
    /// How long runs may go on after the agent was told to stop.
    public var shutdownGrace = Duration.seconds(30)
    /// Of plugins whose isolation is the sandbox.
    public var sandbox = SandboxSettings()
    /// For plugins without a section of their own.
    public var pluginDefaults = PluginSettings()
    /// In the order of the file.
    public var pluginSections: [PluginSection] = []
    /// Environment variables that begin with `RUNBOOK_AGENT_` and name no setting, sorted: worth a warning. They are
    /// no error, because orchestrators set variables named for their services.
    public var unknownEnvironmentNames: [String] = []

    /// The defaults, with relative paths resolved against a folder.
    public init(directory: String) {
        pluginDirectory = directory + "/plugins"
        stateDirectory = directory + "/state"
        defaultKeyFile = directory + "/login.key"
    }
}

/// How the calls of one plugin are run.
public struct PluginSettings: Sendable, Equatable {
    public var isolation = Isolation.inProcess
    /// Nil: a call may take for ever.
    public var taskTimeout: Duration? = .seconds(3600)
    /// Calls of the plugin at the same time.
    public var concurrency = 1
    /// Whether programs that a run has left when it returned stay; nil: in the agent's own process, and not in the
    /// sandbox.
    public var keepsPrograms: Bool?
    /// Whether a one-off of it may run again where the agent ended while it ran: its start is not written down then.
    public var isIdempotent = false
    /// What it may do, where its isolation is the sandbox.
    public var policy = SandboxPolicy()

    public init(
        isolation: Isolation = .inProcess, taskTimeout: Duration? = .seconds(3600), concurrency: Int = 1,
        policy: SandboxPolicy = SandboxPolicy()
    ) {
        self.policy = policy
        self.isolation = isolation
        self.taskTimeout = taskTimeout
        self.concurrency = concurrency
    }
}

/// Where a plugin's code runs.
public enum Isolation: String, Sendable, CaseIterable {
    /// In the agent's own interpreter.
    case inProcess = "in-process"
    /// In a confined child process.
    case sandbox
}

/// What of a result is sent.
public enum ResultFormat: String, Sendable, CaseIterable {
    /// All of part 2 of the contract.
    case extended
    /// `data` alone.
    case minimal
}
