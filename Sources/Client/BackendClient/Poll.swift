public import AgentModel

/// The answer to a question that was asked before.
public enum Poll<Value> {
    /// `304`: as it was.
    case unchanged
    /// The value, and the entity tag to ask with the next time where the backend sent one (RFC 9110, section 8.8.3).
    case changed(Value, etag: String?)
}

extension Poll: Sendable where Value: Sendable {}
extension Poll: Equatable where Value: Equatable {}

/// What `GET /api/agent/tasks` said.
public struct TasksPoll: Sendable {
    /// Nil where the list is as it was.
    public var list: TaskList?
    /// Nil where what is wanted of runs is as it was too.
    public var requests: RunRequests?
    /// What to ask with the next time.
    public var etag: String?
    /// Whether the backend holds the question until there is another answer (`Preference-Applied`).
    public var isHeld: Bool
    /// Whether it closes the connection: it stops.
    public var closes: Bool
}
