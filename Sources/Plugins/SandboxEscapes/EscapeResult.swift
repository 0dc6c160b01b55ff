/// One attempt to break out, and what became of it.
public struct EscapeResult: Sendable, Codable, Equatable {
    public enum Verdict: String, Sendable, Codable {
        /// It got through without the sandbox and not with it.
        case stopped
        /// It got through the sandbox.
        case through
        /// It doesn't get through without the sandbox either, here or for this user, so it shows nothing.
        case notShown = "not_shown"
        /// It could not be made as it should.
        case broken
    }

    public var name: String
    /// Such as `files` or `network`.
    public var group: String
    /// What was tried.
    public var title: String
    public var verdict: Verdict
    /// How it was stopped, or what it did.
    public var detail: String
    /// What the same attempt did in a process that isn't confined.
    public var twin: String
}
