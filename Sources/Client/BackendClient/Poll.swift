/// The answer to a question that was asked before.
public enum Poll<Value> {
    /// `304`: as it was.
    case unchanged
    /// The value, and the entity tag to ask with the next time where the backend sent one (RFC 9110, section 8.8.3).
    case changed(Value, etag: String?)
}

extension Poll: Sendable where Value: Sendable {}
extension Poll: Equatable where Value: Equatable {}

/// The answer to a question that the backend was asked to hold until there is another answer to it.
public struct HeldPoll<Value: Sendable>: Sendable {
    public var poll: Poll<Value>
    /// Whether the backend holds such questions (`Preference-Applied`).
    public var isHeld: Bool
    /// Whether it closes the connection: it stops.
    public var closes: Bool
}
