import AgentModel
import BackendClient
import Diagnostics
import Foundation
import Logging
import PluginExecution
import Synchronization

/// Tells where runs are in their code: the backend, once for each time that it asks, and who asks on this host.
final class StackReporter: Sendable {
    private let runs: RunsInProgress
    private let executor: any Executor
    private let client: BackendClient
    private let logger: Logger

    private struct State {
        /// Requests that are listed and have been taken up.
        var taken: Set<String> = []
        /// Of them those that are to be answered.
        var waiting: [RunRequests.Stack] = []
        var isAnswering = false
    }

    private let state = Mutex(State())

    /// So many wait at the same time. The rest has its turn with a later list.
    private static let mostWaiting = 20

    init(runs: RunsInProgress, executor: any Executor, client: BackendClient, logger: Logger) {
        self.runs = runs
        self.executor = executor
        self.client = client
        self.logger = logger
    }

    /// Answers what is new of these requests, one after the other, without being waited for. What is listed no more is dropped.
    func accept(_ requests: [RunRequests.Stack]) {
        let begins = state.withLock { state -> Bool in
            if requests.isEmpty && state.taken.isEmpty { return false }
            let listed = Set(requests.map(\.id))
            state.taken.formIntersection(listed)
            state.waiting.removeAll { !listed.contains($0.id) }
            for request in requests where state.waiting.count < Self.mostWaiting {
                if state.taken.insert(request.id).inserted { state.waiting.append(request) }
            }
            guard !state.isAnswering, !state.waiting.isEmpty else { return false }
            state.isAnswering = true
            return true
        }
        if begins { Task { while let next = takeNext() { await answer(next) } } }
    }

    private func takeNext() -> RunRequests.Stack? {
        state.withLock { state in
            guard let first = state.waiting.first else {
                state.isAnswering = false
                return nil
            }
            state.waiting.removeFirst()
            return first
        }
    }

    private func answer(_ request: RunRequests.Stack) async {
        let run = find(request.target)
        let stack = await stack(of: run)
        do throws(BackendError) {
            try await client.send(stack, forRequest: request.id)
        } catch {
            logger.debug(
                "could not tell the backend where a run is in its code: \(error.message)",
                metadata: ["run_id": "\(run?.runID ?? "")", "code": "\(error.code)"])
        }
    }

    private func find(_ target: RunRequests.Target) -> RunInProgress? {
        switch target {
        case .run(let id): runs.find(runID: id)
        case .task(let id): runs.find(task: TaskID(id))
        }
    }

    func stack(of run: RunInProgress?) async -> RunStack {
        let text = if let run { await executor.stack(of: run.runID) } else { String?.none }
        return RunStack(
            runID: run?.runID, pythonStack: text.map { HiddenSecrets.hidden(in: $0) }, takenAt: Date())
    }
}
