import AgentModel
import BackendClient
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
    /// Requests that are listed and have been taken up.
    private let taken = Mutex<Set<String>>([])

    /// So many are taken up of one list. The rest has its turn with a later one.
    private static let mostRequests = 20

    init(runs: RunsInProgress, executor: any Executor, client: BackendClient, logger: Logger) {
        self.runs = runs
        self.executor = executor
        self.client = client
        self.logger = logger
    }

    /// Answers what is new of these requests, one after the other, without being waited for.
    func accept(_ requests: [RunRequests.Stack]) {
        let new = taken.withLock { taken -> [RunRequests.Stack] in
            if requests.isEmpty {
                taken = []
                return []
            }
            let new = requests.filter { !taken.contains($0.id) }.prefix(Self.mostRequests)
            taken = taken.intersection(requests.map(\.id)).union(new.map(\.id))
            return Array(new)
        }
        guard !new.isEmpty else { return }
        Task { for request in new { await answer(request) } }
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

    func find(_ target: RunRequests.Target) -> RunInProgress? {
        switch target {
        case .run(let id): runs.find(runID: id)
        case .task(let id): runs.find(task: TaskID(id))
        }
    }

    func stack(of run: RunInProgress?) async -> RunStack {
        let text = if let run { await executor.stack(of: run.runID) } else { String?.none }
        return RunStack(runID: run?.runID, pythonStack: text, takenAt: Date())
    }
}
