/// How a call is stopped whose time limit has passed: ask, inject an exception, give its thread up, and, where the
/// GIL itself is not released, end the process.
public struct TimeLimitPolicy: Sendable {
    /// From asking (`stop_requested` becomes true) to injecting.
    public var askGrace: Duration
    /// From injecting to giving the thread up.
    public var injectGrace: Duration
    /// How long the GIL may be held against us before the interpreter counts as wedged.
    public var interpreterGrace: Duration
    /// How long a call waits in the kernel before another may take its place.
    public var kernelGrace: Duration

    /// How often it is looked whether the interpreter answers, while somebody waits for it.
    var beat: Duration { min(.seconds(1), interpreterGrace / 5) }
    /// The same while nobody does.
    var idleBeat: Duration { interpreterGrace / 3 }
    /// How long the interpreter may be held before the process ends, where the limit of a call doesn't say it.
    ///
    /// - Parameters:
    ///   - isStopping: supervisors don't wait for long.
    ///   - isCall: whether a call, which has a limit, may be what holds it. A thread that a plugin started has none.
    func grace(isStopping: Bool, isCall: Bool) -> Duration {
        if isStopping { return min(.seconds(5), interpreterGrace) }
        return isCall ? interpreterGrace : interpreterGrace * 2
    }

    public init(
        askGrace: Duration = .seconds(2), injectGrace: Duration = .seconds(5),
        interpreterGrace: Duration = .seconds(15), kernelGrace: Duration = .seconds(5)
    ) {
        self.askGrace = askGrace
        self.injectGrace = injectGrace
        self.interpreterGrace = interpreterGrace
        self.kernelGrace = kernelGrace
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
