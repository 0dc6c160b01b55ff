public import AgentModel

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
