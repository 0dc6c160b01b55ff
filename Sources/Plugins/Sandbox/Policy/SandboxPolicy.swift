public import AgentModel

/// What a sandboxed plugin may do and use. `docs/sandbox.md` describes each.
public struct SandboxPolicy: Sendable, Hashable {
    /// Files and folders it may read, beside what Python and the system's libraries need; absolute.
    public var readPaths: [String] = []
    /// Files and folders it may read, change and make files in; absolute.
    public var writePaths: [String] = []
    public var network = SandboxNetwork.none
    public var limits = SandboxLimits()
    /// Of processor time for one run, everything it starts included; nil for no limit.
    public var cpuTime: Duration?
    /// Variables it gets beside `PATH`, `LANG`, `HOME` and `TMPDIR`.
    public var environment: [String: String] = [:]
    /// Whether it may start other programs; they are confined as it is.
    public var startsPrograms = true
    public var api = APIAccess.none
    /// Whether it has a `/proc`, with its own processes and some files about the machine, where the kernel allows that.
    public var hasProc = false

    public init() {}
}

/// Which parts of the `api` object the plugin may use.
public enum APIAccess: String, Sendable, CaseIterable, Comparable {
    case none
    /// `sendTaskResult`, and nothing that reads.
    case results
    /// Every request, with the agent's credentials.
    case full

    public static func < (one: APIAccess, other: APIAccess) -> Bool {
        allCases.firstIndex(of: one)! < allCases.firstIndex(of: other)!
    }
}

/// What becomes of a plugin whose sandbox can't be had as a whole.
public enum SandboxMode: String, Sendable, CaseIterable {
    /// It isn't loaded.
    case require
    /// It runs with the protections that there are, and its results name those that there aren't.
    case prefer
}

/// The user that sandboxed plugins run as where the agent is root.
public struct SandboxUser: Sendable, Hashable {
    public var user: UInt32
    public var group: UInt32

    public init(user: UInt32, group: UInt32) {
        self.user = user
        self.group = group
    }
}

/// How much a plugin has at most of each thing that the sandbox limits.
public struct SandboxLimits: Sendable, Hashable {
    private var values: [SandboxLimit: Int] = [:]

    public init() {}

    public subscript(limit: SandboxLimit) -> Int {
        get { values[limit] ?? limit.standard }
        // What is the standard is not kept, so that two which allow the same are equal.
        set { values[limit] = newValue == limit.standard ? nil : newValue }
    }
}
