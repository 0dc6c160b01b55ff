import Sandbox

/// What is decided before a plugin's code runs, and can't be changed while it does.
struct Confinement: Sendable {
    /// Nil: in the agent's process.
    var policy: SandboxPolicy?
    /// How many calls its process can take.
    var concurrency: Int

    /// Whether what is confined so can run with other settings without being loaded again.
    func allows(_ other: Confinement) -> Bool {
        policy == other.policy && (policy == nil || other.concurrency <= concurrency)
    }
}
