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
    let relay = OutputRelay()
    /// What it prints, where somebody watches it.
    private(set) var output: LiveOutput?

    init(runID: String, task: TaskID, isOneOff: Bool, startedAt: Date) {
        self.runID = runID
        self.task = task
        self.isOneOff = isOneOff
        self.startedAt = startedAt
    }

    fileprivate mutating func watch() {
        let output = LiveOutput()
        relay.observe { output.append($0, $1) }
        self.output = output
    }

    fileprivate func isAmong(_ ids: Set<String>) -> Bool { ids.contains(runID) || ids.contains(task.text) }
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
            if !state.watched.isEmpty, run.isAmong(state.watched) {
                run.watch()
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
        let ended = state.withLock { state -> RunInProgress? in
            guard state.runs[run.task]?.runID == run.runID else { return nil }
            return state.runs.removeValue(forKey: run.task)
        }
        ended?.output?.close()
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
    /// - Returns: ids of runs that are under way and were not watched before: the executor is to be told.
    func setWatched(_ ids: Set<String>) -> [String] {
        let new = state.withLock { state -> [String] in
            state.watched = ids
            if ids.isEmpty { return [] }
            var new: [String] = []
            for (task, run) in state.runs where run.isAmong(ids) {
                if let output = run.output {
                    output.askAgain()
                } else {
                    state.runs[task]?.watch()
                    new.append(run.runID)
                }
            }
            return new
        }
        if !new.isEmpty { arrival.ring() }
        return new
    }

    func isWatched(_ run: RunInProgress) -> Bool {
        state.withLock { run.isAmong($0.watched) }
    }
}
