import AgentModel
import Foundation
import PluginExecution
import Synchronization

/// A run whose start is written down and that has not ended.
struct RunInProgress: Sendable {
    let runID: String
    let task: TaskID
    let isOneOff: Bool
    let startedAt: Date
    let instant = ContinuousClock.now
    let cancellation = Cancellation()
    /// What it prints, where somebody watches it.
    var output: LiveOutput?
}

/// The runs that are under way, and what the backend wants of them: for whoever does not wait for the dispatcher.
final class RunsInProgress: Sendable {
    private struct State {
        /// By task: one has no second run before the first has ended.
        var runs: [TaskID: RunInProgress] = [:]
        /// One-offs that are not to begin.
        var cancelled: [TaskID: Cancellation.Request] = [:]
        /// Runs and tasks whose output is wanted.
        var watched: Set<String> = []
        /// Whether ``arrival`` is to be rung by the next run.
        var isAwaited = false
    }

    private let state = Mutex(State())
    /// Rung when a run begins and there was none, and when a watched one begins.
    let arrival = Alarm()

    /// - Returns: The run, with a place for its output where that is watched.
    func begin(_ run: RunInProgress) -> RunInProgress {
        let (run, rings) = state.withLock { state in
            var run = run
            if !state.watched.isEmpty, !state.watched.isDisjoint(with: [run.runID, run.task.text]) {
                run.output = LiveOutput()
            }
            state.runs[run.task] = run
            let rings = state.isAwaited || run.output != nil
            state.isAwaited = false
            guard run.isOneOff, let request = state.cancelled[run.task] else { return (run, rings) }
            // It came while the start was written down.
            run.cancellation.request(request)
            return (run, rings)
        }
        if rings { arrival.ring() }
        return run
    }

    func end(_ run: RunInProgress) {
        state.withLock { if $0.runs[run.task]?.runID == run.runID { $0.runs[run.task] = nil } }
        run.output?.close()
    }

    /// All that are under way. Where there are none, the next rings ``arrival``.
    func all() -> [RunInProgress] {
        state.withLock { state in
            state.isAwaited = state.runs.isEmpty
            return Array(state.runs.values)
        }
    }

    func find(runID: String) -> RunInProgress? {
        state.withLock { state in state.runs.values.first { $0.runID == runID } }
    }

    func find(task: TaskID) -> RunInProgress? { state.withLock { $0.runs[task] } }

    // MARK: What the backend wants

    /// Who wants a one-off not to run; nil where nobody does.
    func cancellation(ofTask task: TaskID) -> Cancellation.Request? {
        state.withLock { $0.cancelled.isEmpty ? nil : $0.cancelled[task] }
    }

    /// One-offs that are not to begin from now on, and no others.
    func setCancelled(_ cancelled: [TaskID: Cancellation.Request]) {
        state.withLock { $0.cancelled = cancelled }
    }

    /// Runs and tasks whose output is wanted from now on, and no others'.
    func setWatched(_ ids: Set<String>) { state.withLock { $0.watched = ids } }

    func isWatched(_ run: RunInProgress) -> Bool {
        state.withLock { !$0.watched.isDisjoint(with: [run.runID, run.task.text]) }
    }
}
