/// The answer to a question that was asked before.
public enum Poll<Value> {
    /// `304`: as it was.
    case unchanged
    /// The value, and the entity tag to ask with the next time where the backend sent one (RFC 9110, section 8.8.3).
    case changed(Value, etag: String?)
}

extension Poll: Sendable where Value: Sendable {}
extension Poll: Equatable where Value: Equatable {}
