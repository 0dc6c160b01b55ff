import CSignals
import Foundation
import Glibc
import Logging
import ProcessLogging
import Synchronization

/// The signals that end the agent or make it read its configuration anew: SIGTERM, SIGINT, SIGHUP.
///
/// Taken over before anything is opened: one that comes while the agent starts ends it as in order as later. They are
/// received on a thread of their own. Neither a second signal nor the time that the end may take depends on any other
/// thread: the first ends the process in the signal's handler, and the time is kept by a thread that does nothing else.
public struct AgentSignals: Sendable {
    enum Event: Sendable {
        /// SIGTERM or SIGINT, once.
        case stop(Int32)
        case reload
    }

    /// What came; several requests to reload that were not taken yet are one.
    let events: AsyncStream<Event>
    private let limit = StopLimit()

    /// - Throws: `POSIXError` where the handlers can't be installed.
    public static func trap() throws -> AgentSignals {
        try install()
        let (events, continuation) = AsyncStream<Event>.makeStream()
        let signals = AgentSignals(events: events)
        let limit = signals.limit
        Thread.detachNewThread {
            while true {
                let signal = rb_signals_wait()
                if signal == SIGHUP {
                    continuation.yield(.reload)
                } else {
                    continuation.yield(.stop(signal))
                    Thread.detachNewThread { limit.keep() }
                }
            }
        }
        return signals
    }

    /// Sets how long the end may take, as it is asked at the first signal, and what becomes of the process then.
    func setStopLimit(_ duration: @escaping @Sendable () -> Duration, logger: Logger) {
        limit.set(duration, logger: logger)
    }
}

/// How long the agent may take to end after the first signal.
private final class StopLimit: Sendable {
    private struct State {
        var duration: @Sendable () -> Duration = { StopLimit.atStart }
        var logger: Logger?
    }

    private let state = Mutex(State())

    /// While the agent starts.
    private static let atStart = Duration.seconds(10)

    func set(_ duration: @escaping @Sendable () -> Duration, logger: Logger) {
        state.withLock { $0 = State(duration: duration, logger: logger) }
    }

    /// Ends the process when the time is over. The journal is made for that.
    func keep() {
        let duration = state.withLock { $0.duration }()
        Thread.sleep(forTimeInterval: duration / .seconds(1))
        state.withLock { $0.logger }?.critical(
            """
            the agent did not end in time after it was told to and is ended now; what ran is reported at the next start
            """, metadata: ["code": "agent.stop_timed_out", "seconds": "\(duration / .seconds(1))"])
        LogOutput.standardError.flush(within: .milliseconds(500))
        _exit(0)
    }
}

extension AgentSignals {
    /// Has a function called on a thread of its own at the first SIGINT (Ctrl-C) or SIGTERM, and at each SIGHUP (the
    /// terminal was closed). A second SIGINT or SIGTERM ends the process at once. SIGHUP stays ignored where it is
    /// (nohup(1)).
    ///
    /// In place of ``trap()``, and taken over when this returns: none that comes afterwards is lost.
    ///
    /// - Throws: `POSIXError` where the handlers can't be installed.
    public static func onStop(_ body: @escaping @Sendable (Int32) -> Void) throws {
        var hangup = sigaction()
        sigaction(SIGHUP, nil, &hangup)
        try install()
        if rb_is_ignored(&hangup) { sigaction(SIGHUP, &hangup, nil) }
        Thread.detachNewThread {
            while true { body(rb_signals_wait()) }
        }
    }

    private static func install() throws {
        let error = rb_signals_install()
        guard error == 0 else { throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EINVAL) }
    }
}
