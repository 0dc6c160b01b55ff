/// How a call is stopped whose time limit has passed: ask, inject an exception, give its thread up, and, where the
/// GIL itself is not released, end the process.
public struct TimeLimitPolicy: Sendable {
    /// From asking (`stop_requested` becomes true) to injecting.
    public var askGrace: Duration
    /// From injecting to giving the thread up.
    public var injectGrace: Duration
    /// How long the GIL may be held against us before the interpreter counts as wedged.
    public var interpreterGrace: Duration

    public init(
        askGrace: Duration = .seconds(2), injectGrace: Duration = .seconds(5),
        interpreterGrace: Duration = .seconds(15)
    ) {
        self.askGrace = askGrace
        self.injectGrace = injectGrace
        self.interpreterGrace = interpreterGrace
    }
}

/// The step that ended a call past its time limit. Part of the run's error message.
public enum StopStep: String, Sendable {
    /// It returned after it was asked.
    case asked
    /// An exception was raised in its code.
    case injected
    /// It went on regardless; its thread was given up.
    case threadAbandoned = "thread_abandoned"
    /// It went on regardless; its child process was ended.
    case childEnded = "child_ended"
    /// It held the GIL; the process had to end.
    case processEnded = "process_ended"
}
