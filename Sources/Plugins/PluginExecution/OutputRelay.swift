public import PythonEmbedding
import Threads

/// Who is told what a run's call writes, where somebody comes to want that: before the call begins or while it goes on.
///
/// It is made with the run's invocation. ``Executor/observe(_:)`` has a call that is under way tell; what it has written by
/// then comes first.
public final class OutputRelay: Sendable {
    private struct State {
        var observer: OutputObserver?
    }

    private let state = BlockingLock(State())

    public init() {}

    /// From the beginning of the run's output on. The first observer stands.
    public func observe(_ observer: @escaping OutputObserver) {
        state.withLock { if $0.observer == nil { $0.observer = observer } }
    }

    /// Nil where nobody wants to know.
    var observer: OutputObserver? { state.withLock { $0.observer } }
}
