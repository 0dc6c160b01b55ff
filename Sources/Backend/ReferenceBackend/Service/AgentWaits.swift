import Synchronization

/// Requests that wait for something that concerns their agent to change. One for each agent: a second one of the same
/// agent ends the first.
///
/// What a wait learns is a hint to look again, never what has changed.
final class AgentWaits: Sendable {
    /// Why a wait ended.
    enum End: Sendable {
        case changed
        case timedOut
        /// The server stops.
        case stopped
        /// The agent waits with another request.
        case replaced
    }

    /// What an agent had been told of when it looked: a change after that ends a wait at once.
    struct Mark: Sendable {
        fileprivate var all: UInt64
        fileprivate var own: UInt64
    }

    private struct Waiter {
        var id: UInt64
        var continuation: CheckedContinuation<End, Never>
        var timer: Task<Void, any Error>

        func end(_ end: End) {
            timer.cancel()
            continuation.resume(returning: end)
        }
    }

    private struct State {
        var waiters: [String: Waiter] = [:]
        /// Counts the changes, of all agents and of each.
        var all: UInt64 = 0
        var own: [String: UInt64] = [:]
        var lastID: UInt64 = 0
        var isStopping = false
    }

    private let state = Mutex(State())

    /// To be taken before what the agent is told is read.
    func mark(for agentID: String) -> Mark {
        state.withLock { Mark(all: $0.all, own: $0.own[agentID] ?? 0) }
    }

    /// How many requests wait.
    var count: Int { state.withLock { $0.waiters.count } }

    /// Waits until something has changed since the mark.
    func wait(for agentID: String, since mark: Mark, atMost limit: Duration) async -> End {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (end, replaced) = state.withLock { state -> (End?, Waiter?) in
                    if state.isStopping || Task.isCancelled { return (.stopped, nil) }
                    if state.all != mark.all || (state.own[agentID] ?? 0) != mark.own { return (.changed, nil) }
                    // Under the lock, so that it can't be over before there is something for it to end.
                    let timer = Task {
                        try await Task.sleep(for: limit)
                        finish(agentID, id, with: .timedOut)
                    }
                    let waiter = Waiter(id: id, continuation: continuation, timer: timer)
                    return (nil, state.waiters.updateValue(waiter, forKey: agentID))
                }
                replaced?.end(.replaced)
                if let end { continuation.resume(returning: end) }
            }
        } onCancel: {
            finish(agentID, id, with: .stopped)
        }
    }

    /// Something has changed that concerns these agents.
    func wake(_ agentIDs: some Sequence<String>) {
        let woken = state.withLock { state in
            agentIDs.compactMap { agentID in
                state.own[agentID, default: 0] += 1
                return state.waiters.removeValue(forKey: agentID)
            }
        }
        for waiter in woken { waiter.end(.changed) }
    }

    /// Something has changed that may concern any agent.
    func wakeAll() { endAll(with: .changed) { $0.all += 1 } }

    /// No request waits from now on.
    func stop() { endAll(with: .stopped) { $0.isStopping = true } }

    private func endAll(with end: End, _ change: (inout State) -> Void) {
        let woken = state.withLock { state in
            change(&state)
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in woken { waiter.end(end) }
    }

    private func finish(_ agentID: String, _ id: UInt64, with end: End) {
        let waiter = state.withLock { state -> Waiter? in
            guard state.waiters[agentID]?.id == id else { return nil }
            return state.waiters.removeValue(forKey: agentID)
        }
        waiter?.end(end)
    }
}
