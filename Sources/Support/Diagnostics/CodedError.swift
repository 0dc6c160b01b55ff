/// An error that a person can look up: a stable code and a sentence that names the thing and says what to do.
///
/// Every code has a row in `docs/errors.md`.
public protocol CodedError: Error, Sendable, CustomStringConvertible {
    /// Stable, dotted, lower case: `plugin.hash_mismatch`.
    var code: String { get }
    /// One sentence or two, naming the thing in quotes and what to do about it. Never holds a secret.
    var message: String { get }
}

extension CodedError {
    public var description: String { "\(code): \(message)" }
}
