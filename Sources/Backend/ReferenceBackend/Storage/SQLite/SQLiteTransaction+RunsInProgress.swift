import AgentModel
import Foundation
import GRDB

extension SQLiteTransaction {
    func runInProgress(_ runID: String, ofAgent agentID: String) throws -> RunInProgress? {
        try row("\(Self.query) AND run.agent_id = ? AND run.run_id = ?", [agentID, runID]).map(Self.run(from:))
    }

    func runsInProgress(withID runID: String) throws -> [RunInProgress] {
        try rows("\(Self.query) AND run.run_id = ?", [runID]).map(Self.run(from:))
    }

    func runInProgress(ofTask taskID: String) throws -> RunInProgress? {
        try row("\(Self.query) AND run.task_id = ?", [taskID]).map(Self.run(from:))
    }

    func runsInProgress(ofAgent agentID: String?, limit: Int) throws -> [RunInProgress] {
        try rows(
            "\(Self.query) AND (? IS NULL OR run.agent_id = ?) ORDER BY run.started_at LIMIT ?",
            [agentID, agentID, limit]
        ).map(Self.run(from:))
    }

    func insertRunInProgress(_ run: RunInProgress) throws {
        // A task has no second run before the first has ended: an older one has ended without a word, or never begun.
        try execute(
            "INSERT OR REPLACE INTO run_in_progress (agent_id, run_id, task_id, started_at) VALUES (?, ?, ?, ?)",
            [run.agentID, run.runID, run.taskID, run.startedAt])
    }

    func cancels(ofAgent agentID: String) throws -> [RunRequests.Cancel] {
        try rows("SELECT * FROM cancel WHERE agent_id = ? ORDER BY sequence", [agentID]).map { row in
            let runID: String? = row["run_id"]
            return RunRequests.Cancel(
                runID.map { .run($0) } ?? .task(row["task_id"]), by: row["by"], reason: row["reason"])
        }
    }

    func cancelCount(ofAgent agentID: String) throws -> Int {
        try Int.fetchOne(database, sql: "SELECT COUNT(*) FROM cancel WHERE agent_id = ?", arguments: [agentID]) ?? 0
    }

    func insertCancel(
        ofRun runID: String?, ofTask taskID: String, agentID: String, by: String?, reason: String?, at now: Date
    ) throws {
        try execute(
            "INSERT OR IGNORE INTO cancel (agent_id, task_id, run_id, by, reason, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            [agentID, taskID, runID, by, reason, now])
    }

    func endRun(_ runID: String?, ofTask taskID: String, agentID: String, startedAt: Date?) throws {
        try execute(
            "DELETE FROM cancel WHERE agent_id = ? AND (run_id = ? OR run_id IS NULL AND task_id = ?)",
            [agentID, runID, taskID])
        // One of the task that began later is under way still.
        try execute(
            "DELETE FROM run_in_progress WHERE agent_id = ? AND (run_id = ? OR task_id = ? AND started_at <= ?)",
            [agentID, runID, taskID, startedAt])
    }

    private static let query = """
        SELECT run.*, task.command FROM run_in_progress AS run JOIN task ON task.id = run.task_id WHERE TRUE
        """

    private static func run(from row: Row) -> RunInProgress {
        RunInProgress(
            runID: row["run_id"], agentID: row["agent_id"], taskID: row["task_id"], command: row["command"],
            startedAt: row["started_at"])
    }
}
