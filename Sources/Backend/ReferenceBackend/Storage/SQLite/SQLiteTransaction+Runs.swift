import AgentModel
import Foundation
import GRDB

extension SQLiteTransaction {
    func run(_ id: String) throws -> StoredRun? {
        try row("SELECT * FROM run WHERE id = ?", [id]).map(Self.run(from:))
    }

    func run(_ runID: String, ofAgent agentID: String) throws -> StoredRun? {
        try row("SELECT * FROM run WHERE agent_id = ? AND run_id = ?", [agentID, runID]).map(Self.run(from:))
    }

    func run(ofTask taskID: String, agentID: String, data: String?) throws -> StoredRun? {
        try row(
            "SELECT * FROM run WHERE agent_id = ? AND task_id = ? AND data IS ?",
            [agentID, taskID, data.map(ExactText.init)]
        ).map(Self.run(from:))
    }

    func runs(_ filter: RunFilter, _ page: PageRequest) throws -> Page<StoredRun> {
        try self.page(
            """
            SELECT \(Self.excerptColumns) FROM run WHERE sequence < ? AND \(Self.condition)
            ORDER BY sequence DESC LIMIT ?
            """, [page.cursor ?? Int64.max] + Self.arguments(of: filter), limit: page.limit, element: Self.run(from:))
    }

    func runCount(ofTask taskID: String) throws -> Int {
        try Int.fetchOne(database, sql: "SELECT COUNT(*) FROM run WHERE task_id = ?", arguments: [taskID]) ?? 0
    }

    func insert(_ run: StoredRun) throws {
        let result = run.result
        func exact(_ text: String?) -> ExactText? { text.map(ExactText.init) }
        try execute(
            """
            INSERT INTO run (id, agent_id, task_id, command, run_id, status, data, error_code, error_type,
                error_message, error_traceback, stdout, stderr, started_at, finished_at, duration_ms,
                scheduled_for, isolation, python_stack, agent_version, received_at, size)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                run.id, run.agentID, run.taskID, run.command, result.runID, result.status?.rawValue,
                exact(result.data), exact(result.error?.code), exact(result.error?.type),
                exact(result.error?.message), exact(result.error?.traceback), exact(result.stdout),
                exact(result.stderr), result.startedAt, result.finishedAt, result.durationMilliseconds,
                result.scheduledFor, exact(result.isolation), exact(result.pythonStack),
                exact(result.agentVersion), run.receivedAt, run.size,
            ])
    }

    func deleteRun(_ id: String) throws -> Bool { try change("DELETE FROM run WHERE id = ?", [id]) }

    func deleteRuns(_ filter: RunFilter, receivedBefore time: Date, limit: Int) throws -> Int {
        try execute(
            """
            DELETE FROM run WHERE sequence IN (
                SELECT sequence FROM run WHERE received_at < ? AND \(Self.condition) LIMIT ?)
            """, [time] + Self.arguments(of: filter) + [limit])
        return database.changesCount
    }

    private static let condition = """
        (? IS NULL OR agent_id = ?) AND (? IS NULL OR task_id = ?) AND (? IS NULL OR status = ?)
        AND (? IS NULL OR run_id = ?)
        """

    private static func arguments(of filter: RunFilter) -> StatementArguments {
        let values = [filter.agentID, filter.taskID, filter.status?.rawValue, filter.runID]
        return StatementArguments(values.flatMap { [$0, $0] })
    }

    private static let longColumns = ["data", "stdout", "stderr", "error_message", "error_traceback", "python_stack"]

    // Cut by SQLite, because a page of whole results could be gigabytes.
    private static let excerptColumns: String = {
        let size = BackendService.excerptSize
        let whole =
            "sequence, id, agent_id, task_id, command, run_id, status, error_code, error_type, started_at, "
            + "finished_at, duration_ms, scheduled_for, isolation, agent_version, received_at"
        let cut = longColumns.map { "substr(\($0), 1, \(size)) AS \($0)" }
        let isCut = longColumns.map { "ifnull(length(\($0)), 0) > \(size)" }.joined(separator: " OR ")
        return ([whole] + cut + ["(\(isCut)) AS is_excerpt"]).joined(separator: ", ")
    }()

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
                pythonStack: text("python_stack"), agentVersion: text("agent_version")),
            receivedAt: row["received_at"], isExcerpt: row.hasColumn("is_excerpt") ? row["is_excerpt"] : false)
    }
}
