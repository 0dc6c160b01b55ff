import AgentModel
import Threads

/// The place of a PLUGIN_ID in the sandbox, through all the versions loaded under it.
final class SandboxedPlugin: Sendable {
    /// Guarded by the executor's lock of turns.
    let lane: Lane<SandboxedCall>
    private let state: BlockingLock<(version: SandboxedVersion?, timeLimit: Duration?, keepsPrograms: Bool)>

    init(version: SandboxedVersion) {
        lane = Lane(concurrency: version.image.concurrency)
        state = BlockingLock((version, version.image.timeLimit, version.image.keepsPrograms ?? false))
    }

    /// Nil once the plugin is unloaded.
    var current: SandboxedVersion? { state.withLock { $0.version } }

    var timeLimit: Duration? { state.withLock { $0.timeLimit } }

    /// Whether programs that a run has left when it returned stay.
    var keepsPrograms: Bool { state.withLock { $0.keepsPrograms } }

    func set(timeLimit: Duration?, keepsPrograms: Bool) {
        state.withLock { ($0.timeLimit, $0.keepsPrograms) = (timeLimit, keepsPrograms) }
    }

    /// Puts another version, or none, into service and returns the one that was.
    func replace(_ next: SandboxedVersion?) -> SandboxedVersion? {
        state.withLock { state in
            defer {
                state.version = next
                if let next {
                    state.timeLimit = next.image.timeLimit
                    state.keepsPrograms = next.image.keepsPrograms ?? false
                }
            }
            return state.version
        }
    }
}

/// A call that waits for its turn, or has it.
struct SandboxedCall: Sendable {
    let plugin: SandboxedPlugin
    let invocation: Invocation
    let timeLimit: Duration?
    let continuation: CheckedContinuation<Outcome, Never>
}
