import AgentModel
import Logging
import PluginExecution

/// Runs that somebody wants to watch, or to be stopped.
extension Dispatcher {
    /// Stops the runs that the backend lists now as cancelled, and takes back those that have not begun. A one-off that is
    /// not listed yet doesn't begin when it is.
    ///
    /// - Returns: ids of runs that are not under way.
    func cancel(_ requests: [RunRequests.Cancel]) -> [String] {
        var cancelled: [TaskID: Cancellation.Request] = [:]
        var others: [String] = []
        for request in requests {
            let wish = Cancellation.Request(by: request.by, reason: request.reason)
            switch request.target {
            case .run(let id):
                if let run = inProgress.find(runID: id) { stop(run, wish) } else { others.append(id) }
            case .task(let id): cancelled[TaskID(id)] = wish
            }
        }
        inProgress.setCancelled(cancelled)
        for (task, wish) in cancelled {
            if let run = inProgress.find(task: task) {
                if run.isOneOff { stop(run, wish) }
            } else {
                startAtOnce(task)
            }
        }
        return others
    }

    private func stop(_ run: RunInProgress, _ wish: Cancellation.Request) {
        if run.cancellation.request == nil {
            logger.notice(
                "cancelling a run",
                metadata: [
                    "task_id": "\(run.task)", "run_id": "\(run.runID)", "by": "\(wish.by ?? "")",
                    "reason": "\(wish.reason ?? "")",
                ])
        }
        run.cancellation.request(wish)
        dependencies.executor.cancel(run.runID)
    }

    /// Of a one-off that calls nothing: it is written down that it was cancelled.
    func startAtOnce(_ task: TaskID) {
        guard !isStopping, let run = queue.startAtOnce(task) else { return }
        start(run)
    }

    /// Has these runs, and the runs of these tasks, tell what they print, and no others.
    nonisolated func watch(_ ids: Set<String>) {
        for runID in inProgress.setWatched(ids) { dependencies.executor.observe(runID) }
    }

    /// Whether loaded plugins provide these commands, each under its own id.
    nonisolated func provides(_ commands: Set<String>) async -> Bool { await dependencies.catalog.provides(commands) }
}
