public import AgentModel

/// What there is to see of the run of a task, for whoever follows it.
public struct RunView: Sendable {
    public enum State: String, Sendable, Encodable {
        /// The agent hasn't said anything of it.
        case waiting
        case running
        case ended
    }

    public var state: State
    /// The agent's own id of the run, once it is known.
    public var runID: String?
    /// What it has printed beyond what the follower has already, in the order in which it came.
    public var chunks: [OutputChunk]
    /// Once it has ended, whole.
    public var run: StoredRun?
}

extension RunView: Encodable {
    private enum CodingKeys: String, CodingKey {
        case state, chunks, run
        case runID = "run_id"
    }
}
