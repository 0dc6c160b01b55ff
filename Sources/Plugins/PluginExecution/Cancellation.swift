import Threads

/// Whether one run is to be stopped before its time limit, who wants that and why.
///
/// It is made with the run's invocation. ``Executor/cancel(_:)`` begins the steps against the call; one that has not begun
/// doesn't begin.
public final class Cancellation: Sendable {
    /// Who wants a run to be stopped.
    public struct Request: Sendable, Equatable {
        /// Nil where the backend doesn't say.
        public var by: String?
        public var reason: String?

        public init(by: String?, reason: String?) {
            self.by = by
            self.reason = reason
        }
    }

    private struct State {
        var request: Request?
        var hasBegun = false
    }

    private let state = BlockingLock(State())

    public init() {}

    /// Nil where nobody wants it to be stopped. The first request stands.
    public var request: Request? { state.withLock { $0.request } }

    public func request(_ request: Request) {
        state.withLock { if $0.request == nil { $0.request = request } }
    }

    /// The first step against the call is taken because of the request, and not because its time limit has passed.
    func begin() { state.withLock { if $0.request != nil { $0.hasBegun = true } } }

    /// The request, where steps were taken because of it.
    var effective: Request? { state.withLock { $0.hasBegun ? $0.request : nil } }
}
