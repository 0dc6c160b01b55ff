public import AgentModel
import Diagnostics
import Foundation

// MARK: What agents say

extension BackendService {
    /// Takes in how a run is doing: that it is under way, or that the agent knows none of that id and has nothing to stop.
    /// - Throws: `ReferenceBackendError.invalidField`.
    public func note(_ progress: RunProgress, ofRun runID: String, from agentID: String) async throws {
        try Self.checkRunID(runID, field: "run_id")
        switch progress.status {
        case .unknown:
            try await changing([agentID]) { storage in
                guard let run = try storage.runInProgress(runID, ofAgent: agentID) else { return }
                try storage.endRun(runID, ofTask: run.taskID, agentID: agentID, startedAt: nil)
            }
        case .running:
            guard let taskID = progress.taskID else {
                throw ReferenceBackendError.invalidField("task_id", problem: "it is missing")
            }
            try await storage.write { [now = now()] storage in
                // One that was deleted meanwhile is no reason for the agent to tell of no other.
                guard let task = try storage.task(taskID), task.agentID == agentID else { return }
                // It may be over already: what an agent sends can overtake itself.
                guard try storage.run(runID, ofAgent: agentID) == nil else { return }
                try storage.insertRunInProgress(
                    RunInProgress(
                        runID: runID, agentID: agentID, taskID: taskID, command: task.document.command,
                        startedAt: progress.startedAt ?? now))
            }
            live.notify(LiveRuns.Key(agentID: agentID, id: taskID))
        }
    }

    /// Takes in pieces of what a run prints.
    /// - Returns: Where each stream goes on.
    /// - Throws: `ReferenceBackendError.notFound` where nobody follows the run; `.invalidField`.
    public func take(
        _ output: RunOutput, ofRun runID: String, from agentID: String
    ) async throws -> [OutputChunk.Stream: Int] {
        try Self.checkRunID(runID, field: "run_id")
        let taskID = try await storage.read { storage -> String? in
            // It may be over: what an agent sends can overtake itself.
            guard try storage.run(runID, ofAgent: agentID) == nil else { return nil }
            return try output.taskID ?? storage.runInProgress(runID, ofAgent: agentID)?.taskID
        }
        guard let taskID, live.isWatched(LiveRuns.Key(agentID: agentID, id: taskID)) else {
            // It believes that somebody watches: nobody has told it of the last one's going.
            waits.wake([agentID])
            throw ReferenceBackendError.notFound(.run, id: runID)
        }
        return live.add(output.chunks, ofRun: runID, task: LiveRuns.Key(agentID: agentID, id: taskID))
    }

    /// What is wanted of an agent's runs.
    func runRequests(for agentID: String) async throws -> RunRequests {
        RunRequests(
            watch: live.watched(ofAgent: agentID), cancel: try await storage.read { try $0.cancels(ofAgent: agentID) },
            stacks: stacks.all(ofAgent: agentID))
    }

    /// Takes in where a run is in its code.
    /// - Throws: `ReferenceBackendError.notFound` where nobody waits for that.
    public func take(_ stack: RunStack, forRequest id: String, from agentID: String) throws {
        guard stacks.answer(id, from: agentID, stack) else { throw ReferenceBackendError.notFound(.request, id: id) }
    }
}

// MARK: What people want

extension BackendService {
    /// Runs that are under way, as far as their agents have said so, the oldest first.
    public func runsInProgress(ofAgent agentID: String? = nil) async throws -> [RunInProgress] {
        try await storage.read { try $0.runsInProgress(ofAgent: agentID, limit: PageRequest.maximumLimit) }
    }

    /// Has the run of a one-off task stopped, or keeps it from beginning.
    /// - Parameter by: Who wants that, for the run's result and the agent's log.
    /// - Throws: `ReferenceBackendError.notFound`, `.invalidField` for a task with a schedule, `.hasEnded`.
    public func cancelTask(_ id: String, by: String?, reason: String?) async throws {
        let agentID = try await task(id).agentID
        try await changing([agentID]) { [now = now()] storage in
            let task = try storage.requireTask(id)
            guard task.document.cron == nil else {
                throw ReferenceBackendError.invalidField(
                    "id", problem: "the task has a schedule; cancel one of its runs, or disable the task")
            }
            guard try !storage.isDone(id) else { throw ReferenceBackendError.hasEnded(task: id) }
            try Self.checkCancels(ofAgent: task.agentID, in: storage)
            try storage.insertCancel(ofRun: nil, ofTask: id, agentID: task.agentID, by: by, reason: reason, at: now)
        }
    }

    /// Has a run stopped that is under way.
    /// - Parameter runID: The agent's own id of it.
    /// - Throws: `ReferenceBackendError.notFound` where none of that id is under way.
    public func cancelRun(_ runID: String, by: String?, reason: String?) async throws {
        let runs = try await storage.write { [now = now()] storage in
            let runs = try storage.runsInProgress(withID: runID)
            for run in runs {
                try Self.checkCancels(ofAgent: run.agentID, in: storage)
                try storage.insertCancel(
                    ofRun: runID, ofTask: run.taskID, agentID: run.agentID, by: by, reason: reason, at: now)
            }
            return runs
        }
        guard !runs.isEmpty else { throw ReferenceBackendError.notFound(.run, id: runID) }
        waits.wake(runs.map(\.agentID))
    }

    /// Where the run of a task is in its code now, as its agent says it.
    /// - Parameter limit: How long to wait for the agent at most.
    /// - Throws: `ReferenceBackendError.notFound`, `.noAnswer`.
    public func stack(ofTask id: String, atMost limit: Duration) async throws -> RunStack {
        let agentID = try await task(id).agentID
        return try await stack(of: .task(id), agentID: agentID, atMost: limit, notFound: id)
    }

    /// Where a run is in its code that is under way.
    /// - Parameter runID: The agent's own id of it.
    /// - Throws: `ReferenceBackendError.notFound`, `.noAnswer`.
    public func stack(ofRun runID: String, atMost limit: Duration) async throws -> RunStack {
        guard let run = try await storage.read({ try $0.runsInProgress(withID: runID) }).first else {
            throw ReferenceBackendError.notFound(.run, id: runID)
        }
        return try await stack(of: .run(runID), agentID: run.agentID, atMost: limit, notFound: runID)
    }

    private func stack(
        of target: RunRequests.Target, agentID: String, atMost limit: Duration, notFound id: String
    ) async throws -> RunStack {
        switch await stacks.ask(agentID, target, atMost: limit, onAsked: { waits.wake([agentID]) }) {
        case .tooMany: throw ReferenceBackendError.busy(retryAfter: 5)
        case .none: throw ReferenceBackendError.noAnswer(agentID: agentID)
        case .told(let stack):
            // It has ended, or has not begun.
            guard stack.runID != nil else { throw ReferenceBackendError.notFound(.run, id: id) }
            return stack
        }
    }

    /// An agent reads all of them with each list: one that is away must not come back to more than it can read.
    private static func checkCancels(ofAgent agentID: String, in storage: any StorageWriter) throws {
        guard try storage.cancelCount(ofAgent: agentID) >= mostCancels else { return }
        throw ReferenceBackendError.invalidField(
            "id", problem: "\(mostCancels) cancels wait for this agent already; delete the tasks instead")
    }

    private static let mostCancels = 10_000

    /// Has an agent tell what the run of a task prints, from its beginning on, for `LiveRuns.watchTime`.
    func watchTask(_ id: String, of agentID: String) {
        if live.watch(LiveRuns.Key(agentID: agentID, id: id)) { waits.wake([agentID]) }
    }

    /// What there is to see of the run of a task: at once where that is more than the follower has, or else when it is.
    ///
    /// - Parameters:
    ///   - offsets: How many bytes of each stream the follower has.
    ///   - state: What it knows: an answer at once tells of another.
    ///   - limit: How long to wait at most.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func followTask(
        _ id: String, beyond offsets: [OutputChunk.Stream: Int], since state: RunView.State?, atMost limit: Duration
    ) async throws -> RunView {
        let key = LiveRuns.Key(agentID: try await task(id).agentID, id: id)
        return try await live.following(key) {
            let end = ContinuousClock.now + limit
            while true {
                let version = live.version(of: key)
                let view = try await view(ofTask: id, key, beyond: offsets)
                let left = ContinuousClock.now.duration(to: end)
                if view.state == .ended || !view.chunks.isEmpty || view.state != state || left <= .zero { return view }
                if Task.isCancelled || live.isStopping { return view }
                watchTask(id, of: key.agentID)
                await live.wait(for: key, since: version, atMost: min(left, LiveRuns.watchTime / 2))
            }
        }
    }

    private func view(
        ofTask id: String, _ key: LiveRuns.Key, beyond offsets: [OutputChunk.Stream: Int]
    ) async throws -> RunView {
        let (run, inProgress) = try await storage.read { storage -> (StoredRun?, RunInProgress?) in
            // Of a schedule the last result is of another run than the one under way.
            let isOneOff = try storage.requireTask(id).document.cron == nil
            let newest = isOneOff ? try storage.runs(RunFilter(taskID: id), PageRequest(limit: 1)).elements.first : nil
            return (try newest.flatMap { try storage.run($0.id) }, try storage.runInProgress(ofTask: id))
        }
        if let run { return RunView(state: .ended, runID: run.result.runID, chunks: [], run: run) }
        guard let runID = inProgress?.runID ?? live.run(ofTask: key) else {
            return RunView(state: .waiting, runID: nil, chunks: [], run: nil)
        }
        let chunks = live.chunks(ofRun: runID, task: key, beyond: offsets)
        return RunView(state: .running, runID: runID, chunks: chunks, run: nil)
    }
}
