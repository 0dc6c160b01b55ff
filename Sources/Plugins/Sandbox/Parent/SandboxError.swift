import AgentModel
public import Diagnostics

/// Why a child could not be started.
public enum SandboxError: CodedError, Equatable {
    /// This host lacks what the policy needs.
    case unavailable(missing: [SandboxProtection])
    /// It said why it did not come up.
    case refused(reason: String)
    /// It ended, or said something else than it should.
    case startFailed(reason: String)
    case startTimedOut
    /// None is started any more.
    case stopped

    public var code: String {
        switch self {
        case .unavailable: "sandbox.unavailable"
        case .refused, .startFailed: "sandbox.start_failed"
        case .startTimedOut: "sandbox.start_timed_out"
        case .stopped: "executor.stopped"
        }
    }

    public var message: String {
        switch self {
        case .unavailable(let missing):
            "on this host the sandbox can't protect these from a plugin: \(missing.map { quoted($0.rawValue) }.joined(separator: ", ")); "
                + "run 'runbook-agent doctor' for what is missing and how to get it, or set 'mode = prefer' in [sandbox] "
                + "to run plugins with the rest"
        case .refused(let reason):
            "a sandboxed child could not confine itself: \(reason); run 'runbook-agent doctor'"
        case .startFailed(let reason):
            "a sandboxed child could not be started: \(reason); run 'runbook-agent doctor'"
        case .startTimedOut:
            "a sandboxed child did not start in time; the host may be overloaded: the next run tries again"
        case .stopped: "no sandboxed child can be started: the agent is stopping"
        }
    }
}
