internal import CPython
internal import Synchronization
import Threads

/// Whose the threads are that run plugins' code, to be asked while the interpreter's lock is held.
public enum PluginThreads {
    public struct Owner: Sendable, Equatable {
        /// Nil where it can't be told.
        public var plugin: String?
        /// Of a thread that a plugin started; nil for one of the executor's.
        public var name: String?
    }

    private static let owners = BlockingLock<[Int32: Owner]>([:])

    /// By their numbers (gettid(2)).
    public static func all() -> [Int32: Owner] { owners.withLock { $0 } }

    /// From now on the thread of that number runs a plugin's code.
    public static func add(_ thread: Int32, plugin: String) {
        owners.withLock { $0[thread] = Owner(plugin: plugin) }
    }

    public static func remove(_ thread: Int32) {
        owners.withLock { $0[thread] = nil }
    }

    /// What the current thread belongs to.
    static var current: Owner? {
        let thread = PythonInterpreter.currentThreadNumber
        return owners.withLock { $0[thread] }
    }

    static func begin(plugin: String?, name: String) {
        let thread = PythonInterpreter.currentThreadNumber
        owners.withLock { $0[thread] = Owner(plugin: plugin, name: name) }
    }
}

extension PythonInterpreter {
    /// The current thread's number as the kernel has it (gettid(2)).
    public static var currentThreadNumber: Int32 { Int32(truncatingIfNeeded: PyThread_get_thread_native_id()) }

    /// Runs a short piece of work on the control thread and waits for it, but no longer than that: the lock may be
    /// held. The work is done later then.
    ///
    /// - Returns: nil where it was not done in time.
    public func perform<Value: Sendable>(
        within limit: Duration, _ work: @escaping @Sendable (borrowing GIL) -> Value
    ) async -> Value? {
        await Self.within(limit) { once in self.enqueue { gil in once.resume(work(gil)) } }
    }

    static func within<Value: Sendable>(
        _ limit: Duration, _ start: @Sendable (OnceContinuation<Value>) -> Void
    ) async -> Value? {
        await withCheckedContinuation { continuation in
            let once = OnceContinuation(continuation)
            once.setTimer(
                Task {
                    try? await Task.sleep(for: limit)
                    once.resume(nil)
                })
            start(once)
        }
    }
}

/// A continuation that several may resume, of whom the first does.
final class OnceContinuation<Value: Sendable>: Sendable {
    private struct State {
        var continuation: CheckedContinuation<Value?, Never>?
        var timer: Task<Void, Never>?
    }

    private let state: Mutex<State>

    init(_ continuation: CheckedContinuation<Value?, Never>) {
        state = Mutex(State(continuation: continuation))
    }

    /// What is cancelled when the continuation has been resumed.
    func setTimer(_ timer: Task<Void, Never>) {
        state.withLock { $0.timer = timer }
    }

    func resume(_ value: Value?) {
        let (continuation, timer) = state.withLock { state in
            defer { state.continuation = nil }
            return (state.continuation, state.timer)
        }
        timer?.cancel()
        continuation?.resume(returning: value)
    }
}
