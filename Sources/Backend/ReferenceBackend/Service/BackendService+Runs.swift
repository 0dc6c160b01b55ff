public import AgentModel
import Diagnostics
public import Foundation
import GRDB

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
        let delivery = try await database.write { [result, now = now(), maximumAgentStorage] database in
            // Before the task is looked for: it may have been deleted since the first delivery.
            if let known = try Self.run(withKeyOf: result, ofTask: taskID, from: agentID, in: database) {
                return Delivery.repeated(known)
            }
            let task = try Self.task(taskID, in: database)
            guard task.agentID == agentID else { throw ReferenceBackendError.notFound(.task, id: taskID) }
            if let known = try Self.run(sameAs: result, of: task, in: database) { return .repeated(known) }
            let run = StoredRun(
                id: Self.newID(), agentID: agentID, taskID: taskID, command: task.document.command, result: result,
                receivedAt: now)
            guard try Self.storedBytes(ofAgent: agentID, in: database) + run.size <= maximumAgentStorage else {
                throw ReferenceBackendError.agentStorageFull(agentID: agentID, limit: maximumAgentStorage)
            }
            try Self.insert(run, in: database)
            return .stored(run)
        }
        if case .stored(let run) = delivery { announce(run) }
        return delivery
    }

    /// - Parameter id: The backend's own id of the run.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func run(_ id: String) async throws -> StoredRun {
        try await database.read { database in
            guard let row = try Row.fetchOne(database, sql: "SELECT * FROM run WHERE id = ?", arguments: [id]) else {
                throw ReferenceBackendError.notFound(.run, id: id)
            }
            return Self.run(from: row)
        }
    }

    /// Runs with their long texts cut to excerpts, the newest first.
    public func runs(_ filter: RunFilter = RunFilter(), _ page: PageRequest = .first) async throws -> Page<StoredRun> {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT \(Self.excerptColumns) FROM run
                    WHERE sequence < ? AND (? IS NULL OR agent_id = ?) AND (? IS NULL OR task_id = ?)
                        AND (? IS NULL OR status = ?) AND (? IS NULL OR run_id = ?)
                    ORDER BY sequence DESC LIMIT ?
                    """,
                arguments: [
                    page.cursor ?? Int64.max, filter.agentID, filter.agentID, filter.taskID, filter.taskID,
                    filter.status?.rawValue, filter.status?.rawValue, filter.runID, filter.runID, page.limit + 1,
                ])
            return Page(rows: rows, limit: page.limit) {
                $0["sequence"]
            } element: {
                Self.run(from: $0)
            }
        }
    }

    /// Deletes a run. A one-off task that it was of stays done.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func deleteRun(_ id: String) async throws {
        try await database.write { database in
            try database.execute(sql: "DELETE FROM run WHERE id = ?", arguments: [id])
            if database.changesCount == 0 { throw ReferenceBackendError.notFound(.run, id: id) }
        }
    }

    /// Deletes the runs that came in before a time. One-off tasks that they were of stay done.
    /// - Returns: How many there were.
    public func deleteRuns(_ filter: RunFilter = RunFilter(), receivedBefore time: Date) async throws -> Int {
        var count = 0
        while true {
            try Task.checkCancellation()
            // Some at a time, so that results that come in meanwhile need not wait for long.
            let deleted = try await database.write { database in
                try database.execute(
                    sql: """
                        DELETE FROM run WHERE sequence IN (
                            SELECT sequence FROM run
                            WHERE received_at < ? AND (? IS NULL OR agent_id = ?) AND (? IS NULL OR task_id = ?)
                                AND (? IS NULL OR status = ?) AND (? IS NULL OR run_id = ?)
                            LIMIT 200)
                        """,
                    arguments: [
                        time, filter.agentID, filter.agentID, filter.taskID, filter.taskID, filter.status?.rawValue,
                        filter.status?.rawValue, filter.runID, filter.runID,
                    ])
                return database.changesCount
            }
            count += deleted
            if deleted == 0 { return count }
        }
    }

    /// What an agent's runs take, in bytes.
    static func storedBytes(ofAgent agentID: String, in database: Database) throws -> Int {
        try Int.fetchOne(
            database, sql: "SELECT bytes FROM agent_storage WHERE agent_id = ?", arguments: [agentID]) ?? 0
    }

    /// How many runs of a task are stored.
    public func runCount(ofTask taskID: String) async throws -> Int {
        try await database.read { database in
            try Int.fetchOne(database, sql: "SELECT COUNT(*) FROM run WHERE task_id = ?", arguments: [taskID]) ?? 0
        }
    }

    /// How much of each text a list shows, in bytes.
    public static let excerptSize = 4096

    private static let longColumns = ["data", "stdout", "stderr", "error_message", "error_traceback"]

    // Cut by SQLite, because a page of whole results could be gigabytes.
    private static let excerptColumns: String = {
        let whole =
            "sequence, id, agent_id, task_id, command, run_id, status, error_code, error_type, started_at, "
            + "finished_at, duration_ms, scheduled_for, isolation, agent_version, received_at"
        let cut = longColumns.map { "substr(\($0), 1, \(excerptSize)) AS \($0)" }
        let isCut = longColumns.map { "ifnull(length(\($0)), 0) > \(excerptSize)" }.joined(separator: " OR ")
        return ([whole] + cut + ["(\(isCut)) AS is_excerpt"]).joined(separator: ", ")
    }()

    private static func checkRunID(_ id: String, field: String) throws(ReferenceBackendError) {
        guard (1...255).contains(id.utf8.count), id.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalidField(field, problem: "it is 1 to 255 visible ASCII characters")
        }
    }

    private static func run(
        withKeyOf result: TaskResult, ofTask taskID: String, from agentID: String, in database: Database
    ) throws -> StoredRun? {
        guard let runID = result.runID else { return nil }
        let row = try Row.fetchOne(
            database, sql: "SELECT * FROM run WHERE agent_id = ? AND run_id = ?", arguments: [agentID, runID])
        guard let known = row.map(run(from:)) else { return nil }
        guard known.taskID == taskID else {
            throw ReferenceBackendError.invalidField(
                "run_id", problem: "\(quoted(runID)) is a run of the task \(quoted(known.taskID)) already")
        }
        return known
    }

    private static func run(
        sameAs result: TaskResult, of task: RegisteredTask, in database: Database
    ) throws -> StoredRun? {
        guard result.runID == nil, task.document.cron == nil else { return nil }
        let row = try Row.fetchOne(
            database, sql: "SELECT * FROM run WHERE agent_id = ? AND task_id = ? AND data IS ?",
            arguments: [task.agentID, task.document.id, result.data.map(ExactText.init)])
        return row.map(run(from:))
    }

    private static func insert(_ run: StoredRun, in database: Database) throws {
        let result = run.result
        func exact(_ text: String?) -> ExactText? { text.map(ExactText.init) }
        try database.execute(
            sql: """
                INSERT INTO run (id, agent_id, task_id, command, run_id, status, data, error_code, error_type,
                    error_message, error_traceback, stdout, stderr, started_at, finished_at, duration_ms,
                    scheduled_for, isolation, agent_version, received_at, size)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                run.id, run.agentID, run.taskID, run.command, result.runID, result.status?.rawValue,
                exact(result.data), exact(result.error?.code), exact(result.error?.type),
                exact(result.error?.message), exact(result.error?.traceback), exact(result.stdout),
                exact(result.stderr), result.startedAt, result.finishedAt, result.durationMilliseconds,
                result.scheduledFor, exact(result.isolation), exact(result.agentVersion), run.receivedAt, run.size,
            ])
    }

    private static func run(from row: Row) -> StoredRun {
        func text(_ column: String) -> String? { (row[column] as ExactText?)?.text }
        let status: String? = row["status"]
        let error = text("error_code").map { code in
            RunError(
                code: code, type: text("error_type"), message: text("error_message") ?? "",
                traceback: text("error_traceback"))
        }
        return StoredRun(
            id: row["id"], agentID: row["agent_id"], taskID: row["task_id"], command: row["command"],
            result: TaskResult(
                data: text("data"), runID: row["run_id"], status: status.flatMap(RunStatus.init(rawValue:)),
                error: error, stdout: text("stdout"), stderr: text("stderr"), startedAt: row["started_at"],
                finishedAt: row["finished_at"], durationMilliseconds: row["duration_ms"],
                scheduledFor: row["scheduled_for"], isolation: text("isolation"),
                agentVersion: text("agent_version")),
            receivedAt: row["received_at"], isExcerpt: row.hasColumn("is_excerpt") ? row["is_excerpt"] : false)
    }
}
