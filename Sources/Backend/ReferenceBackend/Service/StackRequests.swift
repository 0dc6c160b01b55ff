import AgentModel
import Synchronization

/// Who wants to know where which run is in its code. In memory: who asks waits for the answer.
final class StackRequests: Sendable {
    private struct Open {
        let agentID: String
        let request: RunRequests.Stack
        let continuation: CheckedContinuation<RunStack?, Never>
        let timer: Task<Void, any Error>
    }

    /// Of one agent at the same time.
    private static let mostOfAgent = 20

    private let open = Mutex<[String: Open]>([:])

    /// What an agent is asked now.
    func all(ofAgent agentID: String) -> [RunRequests.Stack] {
        open.withLock { open in
            if open.isEmpty { return [] }
            return open.values.filter { $0.agentID == agentID }.map(\.request).sorted { $0.id < $1.id }
        }
    }

    /// Asks an agent and waits for its answer.
    ///
    /// - Parameter onAsked: called once the agent's list has the request.
    /// - Returns: nil where none came in time, or where too many wait for that agent.
    func ask(
        _ agentID: String, _ target: RunRequests.Target, atMost limit: Duration, onAsked: () -> Void
    ) async -> RunStack? {
        let id = BackendService.newID()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isAsked = open.withLock { open in
                    guard !Task.isCancelled, open.values.count(where: { $0.agentID == agentID }) < Self.mostOfAgent
                    else {
                        return false
                    }
                    // Under the lock, so that it can't be over before there is something for it to end.
                    let timer = Task {
                        try await Task.sleep(for: limit)
                        finish(id, nil)
                    }
                    open[id] = Open(
                        agentID: agentID, request: RunRequests.Stack(id: id, target), continuation: continuation,
                        timer: timer)
                    return true
                }
                if isAsked { onAsked() } else { continuation.resume(returning: nil) }
            }
        } onCancel: {
            finish(id, nil)
        }
    }

    /// Takes in an answer.
    /// - Returns: false where nobody waits for it.
    func answer(_ id: String, from agentID: String, _ stack: RunStack) -> Bool {
        guard open.withLock({ $0[id]?.agentID }) == agentID else { return false }
        return finish(id, stack)
    }

    @discardableResult
    private func finish(_ id: String, _ stack: RunStack?) -> Bool {
        guard let request = open.withLock({ $0.removeValue(forKey: id) }) else { return false }
        request.timer.cancel()
        request.continuation.resume(returning: stack)
        return true
    }

    /// Nobody waits any more.
    func stop() {
        for id in open.withLock({ Array($0.keys) }) { finish(id, nil) }
    }
}
