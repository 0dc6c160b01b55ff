/// What the executor tells whoever made it. Each closure is called on the watchdog's thread, without a lock held.
public struct ExecutorEvents: Sendable {
    /// The interpreter is wedged, and all that runs has been reported.
    public var onWedged: @Sendable () -> Void
    /// A thread has held the interpreter for long, or, with nil, does so no more.
    public var onHold: @Sendable (InterpreterHold?) -> Void
    /// So many calls may run at the same time from now on.
    public var onWorkers: @Sendable (Int) -> Void

    public init(
        onWedged: @escaping @Sendable () -> Void, onHold: @escaping @Sendable (InterpreterHold?) -> Void = { _ in },
        onWorkers: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.onWedged = onWedged
        self.onHold = onHold
        self.onWorkers = onWorkers
    }
}
