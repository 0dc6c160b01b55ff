import AgentModel
public import Sandbox

/// How plugins are confined whose isolation is the sandbox: the section `[sandbox]`, but for the policy, which each
/// plugin has its own of.
public struct SandboxSettings: Sendable, Equatable {
    public var mode = SandboxMode.require
    /// Who they run as where the agent is root; nil for a user id each that no one else has.
    public var user: SandboxUser?
    /// After so long without a call a plugin's process is ended; nil for never.
    public var idleTimeout: Duration?
}

/// The settings of a section `[sandbox]` that aren't part of a policy.
enum SandboxKey: String, CaseIterable {
    case mode
    case user
    case idleTimeout = "idle_timeout"
}

/// The settings of `[sandbox]` and of `[plugin:PLUGIN_ID]` that make a policy.
enum PolicyKey: Hashable {
    case access(AccessKey)
    case limit(SandboxLimit)

    static let names = AccessKey.allCases.map(\.rawValue) + SandboxLimit.all.map(\.name)

    init?(_ name: String) {
        if let key = AccessKey(rawValue: name) {
            self = .access(key)
        } else if let limit = SandboxLimit(name: name) {
            self = .limit(limit)
        } else {
            return nil
        }
    }
}

/// The settings of a policy that are no limits: what a plugin may reach.
enum AccessKey: String, CaseIterable {
    case readPaths = "read_paths"
    case writePaths = "write_paths"
    case network
    case cpuSeconds = "cpu_seconds"
    case environment
    case programs
    case proc
    case api
}
