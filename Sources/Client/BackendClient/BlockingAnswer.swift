import AgentModel
import Dispatch
import Threads

/// Carries one result to a thread that waits for it.
final class BlockingAnswer<Success: Sendable, Failure: Error>: Sendable {
    private let result = BlockingLock<Result<Success, Failure>?>(nil)
    private let isReady = DispatchSemaphore(value: 0)

    /// Called once.
    func set(_ value: Result<Success, Failure>) {
        result.withLock { $0 = value }
        isReady.signal()
    }

    /// Called once, on a thread that may block.
    func wait() -> Result<Success, Failure> {
        isReady.wait()
        // The semaphore is signalled only after the result was set.
        return result.withLock { $0! }
    }
}
