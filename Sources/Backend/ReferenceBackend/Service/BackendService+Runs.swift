public import AgentModel
import Diagnostics
public import Foundation

extension BackendService {
    /// Stores the result of a run, once however often it arrives.
    ///
    /// What tells two deliveries of one run from two runs is the key, and without one the result's `run_id`. Where
    /// there is neither, as in part 1 of the contract, a one-off task's result that was stored to the letter is a
    /// repeat, and everything else a run of its own.
    /// - Parameter key: The `Idempotency-Key`, which is the agent's id of the run.
    /// - Throws: `ReferenceBackendError.notFound` for a task that isn't this agent's; `.invalidField`;
    ///   `.agentStorageFull`.
    public func store(
        _ result: TaskResult, ofTask taskID: String, from agentID: String, key: String? = nil
    ) async throws -> Delivery {
        var result = result
        if let key { try Self.checkRunID(key, field: "Idempotency-Key") }
        if let runID = result.runID {
            try Self.checkRunID(runID, field: "run_id")
            if let key, key != runID {
                throw ReferenceBackendError.invalidField(
                    "run_id", problem: "it is \(quoted(runID)) and the Idempotency-Key is \(quoted(key))")
            }
        }
        result.runID = key ?? result.runID
        let delivery = try await storage.write { [result, now = now(), maximumAgentStorage] storage in
            // Before the task is looked for: it may have been deleted since the first delivery.
            if let known = try Self.run(withKeyOf: result, ofTask: taskID, from: agentID, in: storage) {
                try storage.endRun(
                    known.result.runID, ofTask: taskID, agentID: agentID, startedAt: known.result.startedAt)
                return Delivery.repeated(known)
            }
            let task = try storage.requireTask(taskID)
            guard task.agentID == agentID else { throw ReferenceBackendError.notFound(.task, id: taskID) }
            if let known = try Self.run(sameAs: result, of: task, in: storage) { return .repeated(known) }
            let run = StoredRun(
                id: Self.newID(), agentID: agentID, taskID: taskID, command: task.document.command, result: result,
                receivedAt: now)
            guard try storage.storedBytes(ofAgent: agentID) + run.size <= maximumAgentStorage else {
                throw ReferenceBackendError.agentStorageFull(agentID: agentID, limit: maximumAgentStorage)
            }
            try storage.insert(run)
            try storage.endRun(
                run.result.runID, ofTask: taskID, agentID: agentID, startedAt: run.result.startedAt)
            return .stored(run)
        }
        live.end(LiveRuns.Key(agentID: agentID, id: taskID))
        if case .stored(let run) = delivery { announce(run) }
        return delivery
    }

    /// - Parameter id: The backend's own id of the run.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func run(_ id: String) async throws -> StoredRun {
        try await storage.read { storage in
            guard let run = try storage.run(id) else { throw ReferenceBackendError.notFound(.run, id: id) }
            return run
        }
    }

    /// Runs with their long texts cut to excerpts, the newest first.
    public func runs(_ filter: RunFilter = RunFilter(), _ page: PageRequest = .first) async throws -> Page<StoredRun> {
        try await storage.read { try $0.runs(filter, page) }
    }

    /// Deletes a run. A one-off task that it was of stays done.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func deleteRun(_ id: String) async throws {
        try await storage.write { storage in
            guard try storage.deleteRun(id) else { throw ReferenceBackendError.notFound(.run, id: id) }
        }
    }

    /// Deletes the runs that came in before a time. One-off tasks that they were of stay done.
    /// - Returns: How many there were.
    public func deleteRuns(_ filter: RunFilter = RunFilter(), receivedBefore time: Date) async throws -> Int {
        var count = 0
        while true {
            try Task.checkCancellation()
            // Some at a time, so that results that come in meanwhile need not wait for long.
            let deleted = try await storage.write {
                try $0.deleteRuns(filter, receivedBefore: time, limit: Self.deletionBatch)
            }
            count += deleted
            if deleted == 0 { return count }
        }
    }

    /// How many runs of a task are stored.
    public func runCount(ofTask taskID: String) async throws -> Int {
        try await storage.read { try $0.runCount(ofTask: taskID) }
    }

    /// How much of each text a list shows, in bytes.
    public static let excerptSize = 4096

    private static let deletionBatch = 200

    static func checkRunID(_ id: String, field: String) throws(ReferenceBackendError) {
        guard (1...255).contains(id.utf8.count), id.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalidField(field, problem: "it is 1 to 255 visible ASCII characters")
        }
    }

    private static func run(
        withKeyOf result: TaskResult, ofTask taskID: String, from agentID: String, in storage: any StorageReader
    ) throws -> StoredRun? {
        guard let runID = result.runID else { return nil }
        guard let known = try storage.run(runID, ofAgent: agentID) else { return nil }
        guard known.taskID == taskID else {
            throw ReferenceBackendError.invalidField(
                "run_id", problem: "\(quoted(runID)) is a run of the task \(quoted(known.taskID)) already")
        }
        return known
    }

    private static func run(
        sameAs result: TaskResult, of task: RegisteredTask, in storage: any StorageReader
    ) throws -> StoredRun? {
        guard result.runID == nil, task.document.cron == nil else { return nil }
        return try storage.run(ofTask: task.document.id, agentID: task.agentID, data: result.data)
    }
}
