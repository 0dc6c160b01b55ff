/// How log lines are written.
public enum LogFormat: String, Sendable, CaseIterable {
    /// For people: `2026-11-23T21:07:00.123Z info    [agent] message key=value`.
    case text
    /// One JSON object a line.
    case json
}
