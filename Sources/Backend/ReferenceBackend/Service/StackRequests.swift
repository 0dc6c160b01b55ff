import AgentModel
import Synchronization

/// Who wants to know where which run is in its code. In memory: who asks waits for the answer.
final class StackRequests: Sendable {
    private struct Open {
        let agentID: String
        let request: RunRequests.Stack
        let continuation: CheckedContinuation<Answer, Never>
        let timer: Task<Void, any Error>
    }

    /// Of one agent at the same time.
    private static let mostOfAgent = 20

    private struct State {
        var open: [String: Open] = [:]
        var isStopping = false
    }

    enum Answer: Sendable {
        case told(RunStack)
        /// None came in time.
        case none
        /// Too many wait for that agent.
        case tooMany
    }

    private let state = Mutex(State())

    /// What an agent is asked now.
    func all(ofAgent agentID: String) -> [RunRequests.Stack] {
        state.withLock { state in
            if state.open.isEmpty { return [] }
            return state.open.values.filter { $0.agentID == agentID }.map(\.request).sorted { $0.id < $1.id }
        }
    }

    /// Asks an agent and waits for its answer.
    ///
    /// - Parameter onAsked: called once the agent's list has the request.
    func ask(
        _ agentID: String, _ target: RunRequests.Target, atMost limit: Duration, onAsked: () -> Void
    ) async -> Answer {
        let id = BackendService.newID()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let refusal = state.withLock { state -> Answer? in
                    if Task.isCancelled || state.isStopping { return Answer.none }
                    if state.open.values.count(where: { $0.agentID == agentID }) >= Self.mostOfAgent { return .tooMany }
                    // Under the lock, so that it can't be over before there is something for it to end.
                    let timer = Task {
                        try await Task.sleep(for: limit)
                        finish(id, .none)
                    }
                    state.open[id] = Open(
                        agentID: agentID, request: RunRequests.Stack(id: id, target), continuation: continuation,
                        timer: timer)
                    return nil
                }
                if let refusal { continuation.resume(returning: refusal) } else { onAsked() }
            }
        } onCancel: {
            finish(id, .none)
        }
    }

    /// Takes in an answer.
    /// - Returns: false where nobody waits for it.
    func answer(_ id: String, from agentID: String, _ stack: RunStack) -> Bool {
        guard state.withLock({ $0.open[id]?.agentID }) == agentID else { return false }
        return finish(id, .told(stack))
    }

    @discardableResult
    private func finish(_ id: String, _ answer: Answer) -> Bool {
        guard let request = state.withLock({ $0.open.removeValue(forKey: id) }) else { return false }
        request.timer.cancel()
        request.continuation.resume(returning: answer)
        return true
    }

    /// Nobody waits from now on.
    func stop() {
        let open = state.withLock { state in
            state.isStopping = true
            return Array(state.open.keys)
        }
        for id in open { finish(id, .none) }
    }
}
