import AgentModel
import Glibc
import PythonEmbedding
import Sandbox
import Synchronization
import Threads

/// Keeps a child ready for each policy that is in use, so that one that was ended is replaced without waiting for
/// another to start.
///
/// All children are started on its one thread, which lives longer than they: the kernel ends a child with the thread
/// that started it.
final class StandbyChildPool: Sendable {
    struct Kind: Hashable, Sendable {
        var policy: SandboxPolicy
        var channels: Int
    }

    private struct State {
        var ready: [Kind: SandboxChild] = [:]
        /// How many plugins use a kind.
        var users: [Kind: Int] = [:]
        var isStopped = false
    }

    private let host: SandboxHost
    private let state = BlockingLock(State())
    /// Nil ends the thread.
    private let work = BlockingQueue<(@Sendable () -> Void)?>()

    /// - Throws: `PythonEmbeddingError` when no thread can be made.
    init(host: SandboxHost) throws(PythonEmbeddingError) {
        self.host = host
        let work = work
        try PythonInterpreter.startPlainThread(name: "sandbox-start") {
            while let item = work.pop() { item() }
        }
    }

    /// A child that no one else has. Blocks for as long as a child takes to come up, where none is ready, but not past
    /// the deadline.
    func take(_ kind: Kind, within bound: SandboxBound) throws(SandboxError) -> SandboxChild {
        if let ready = state.withLock({ $0.ready.removeValue(forKey: kind) }) {
            // Someone may have ended it while it waited, such as the kernel, out of memory.
            if ready.isAlive { return ready }
            ready.end()
        }
        let answer = BlockingQueue<Result<SandboxChild, SandboxError>>()
        let isAwaited = BlockingLock(true)
        let isStopped = state.withLock { state in
            if state.isStopped { return true }
            work.push { [self] in
                guard isAwaited.withLock({ $0 }) else { return }
                let result = Result { () throws(SandboxError) in try start(kind) }
                let isTaken = isAwaited.withLock { isAwaited in
                    if isAwaited { answer.push(result) }
                    return isAwaited
                }
                if !isTaken, case .success(let child) = result { keep(child, for: kind) }
            }
            return false
        }
        guard !isStopped else { throw .stopped }
        if let result = bound.wait(for: answer) { return try result.get() }
        // It may have come just now.
        let late = isAwaited.withLock { isAwaited in
            isAwaited = false
            return answer.pop(within: .zero)
        }
        if let late { return try late.get() }
        throw bound.isStopped ? .stopped : .startTimedOut
    }

    /// On the thread of all children. Not any more where no one would have it.
    private func start(_ kind: Kind) throws(SandboxError) -> SandboxChild {
        guard !state.withLock({ $0.isStopped }) else { throw .stopped }
        return try SandboxChild.start(kind.policy, channels: kind.channels, on: host)
    }

    /// Has it ready, or ends it where that isn't wanted.
    private func keep(_ child: SandboxChild, for kind: Kind) {
        let surplus = state.withLock { state -> SandboxChild? in
            guard !state.isStopped, state.users[kind] != nil else { return child }
            return state.ready.updateValue(child, forKey: kind)
        }
        surplus?.end()
    }

    /// From now on one of the kind is kept ready.
    func retain(_ kind: Kind) {
        state.withLock { $0.users[kind, default: 0] += 1 }
        replenish(kind)
    }

    /// A plugin that used the kind is gone.
    func release(_ kind: Kind) {
        let unused = state.withLock { state -> SandboxChild? in
            guard let count = state.users[kind] else { return nil }
            state.users[kind] = count > 1 ? count - 1 : nil
            return count > 1 ? nil : state.ready.removeValue(forKey: kind)
        }
        unused?.end()
    }

    /// Starts one of the kind where none is ready, without waiting for it.
    func replenish(_ kind: Kind) {
        work.push { [self] in
            guard state.withLock({ !$0.isStopped && $0.ready[kind] == nil && $0.users[kind] != nil }) else { return }
            // A host on which none comes up says so when one is needed.
            guard let child = try? start(kind) else { return }
            keep(child, for: kind)
        }
    }

    deinit {
        work.push(nil)
    }

    /// Ends those that are ready, and the one that is being started. Those that were taken must have ended: their
    /// thread ends. Once.
    func stop() async {
        let ready = state.withLock { state in
            state.isStopped = true
            defer { state.ready = [:] }
            return Array(state.ready.values)
        }
        for child in ready { child.end() }
        await withCheckedContinuation { continuation in
            work.push { continuation.resume() }
        }
        work.push(nil)
    }
}
