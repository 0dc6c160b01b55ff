import Glibc
import PluginExecution
import Synchronization

/// What becomes of a call from the command line when a signal comes that asks for the end.
///
/// The first one stops the call, so that what it has written is kept. Before the call has begun, or after it has ended,
/// it ends the process.
final class Interruption: Sendable {
    private enum Stage {
        case idle
        case calling(TieredExecutor)
        case interrupted(Int32)
    }

    private let stage = Mutex(Stage.idle)

    /// What the executor runs from now on is what is stopped.
    func begin(_ executor: TieredExecutor) {
        stage.withLock { $0 = .calling(executor) }
    }

    /// - Returns: the signal that stopped the call, if one did.
    func end() -> Int32? {
        stage.withLock { stage in
            guard case .interrupted(let signal) = stage else {
                stage = .idle
                return nil
            }
            return signal
        }
    }

    func arrived(_ signal: Int32) {
        let executor: TieredExecutor? = stage.withLock { stage in
            guard case .calling(let executor) = stage else { return nil }
            stage = .interrupted(signal)
            return executor
        }
        guard let executor else { _exit(128 + signal) }
        Terminal.writeError("interrupted: the call is being stopped; Ctrl-C again ends it at once")
        executor.stopCalls()
    }
}
