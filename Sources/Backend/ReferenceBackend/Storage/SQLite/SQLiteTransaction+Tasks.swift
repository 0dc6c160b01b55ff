import AgentModel
import Foundation
import GRDB

extension SQLiteTransaction {
    func hasTask(_ id: String) throws -> Bool { try exists("SELECT 1 FROM task WHERE id = ?", [id]) }

    func task(_ id: String) throws -> RegisteredTask? {
        try row("SELECT * FROM task WHERE id = ?", [id]).map(Self.task(from:))
    }

    func isDone(_ taskID: String) throws -> Bool { try exists("SELECT 1 FROM task WHERE id = ? AND done", [taskID]) }

    func tasks(ofAgent agentID: String?, _ page: PageRequest) throws -> Page<RegisteredTask> {
        try self.page(
            "SELECT * FROM task WHERE sequence > ? AND (? IS NULL OR agent_id = ?) ORDER BY sequence LIMIT ?",
            [page.cursor ?? 0, agentID, agentID], limit: page.limit, element: Self.task(from:))
    }

    func dueTasks(ofAgent agentID: String) throws -> [TaskDocument] {
        let rows = try Row.fetchCursor(
            database,
            sql: """
                SELECT * FROM task WHERE agent_id = ? AND enabled AND (cron IS NOT NULL OR NOT done)
                ORDER BY sequence
                """, arguments: [agentID])
        var documents: [TaskDocument] = []
        while let row = try rows.next() { documents.append(Self.document(from: row)) }
        return documents
    }

    func save(_ task: RegisteredTask, isSeeded: Bool) throws {
        try execute(
            """
            INSERT INTO task (id, agent_id, done, command, cron, arguments, enabled, seeded, created_at, updated_at)
            VALUES (?, ?, EXISTS (SELECT 1 FROM run WHERE task_id = ? AND agent_id = ?), ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET agent_id = excluded.agent_id,
                done = CASE WHEN agent_id = excluded.agent_id THEN done OR excluded.done ELSE excluded.done END,
                command = excluded.command, cron = excluded.cron, arguments = excluded.arguments,
                seeded = excluded.seeded, updated_at = excluded.updated_at
            """,
            [
                task.document.id, task.agentID, task.document.id, task.agentID, task.document.command,
                task.document.cron, ExactText(task.document.arguments), task.isEnabled, isSeeded, task.createdAt,
                task.updatedAt,
            ])
    }

    func update(_ task: RegisteredTask) throws {
        try execute(
            "UPDATE task SET command = ?, cron = ?, arguments = ?, enabled = ?, updated_at = ? WHERE id = ?",
            [
                task.document.command, task.document.cron, ExactText(task.document.arguments), task.isEnabled,
                task.updatedAt, task.document.id,
            ])
    }

    func deleteTask(_ id: String) throws -> Bool { try change("DELETE FROM task WHERE id = ?", [id]) }

    func deleteSeededTasks(ofAgent agentID: String, except ids: [String]) throws {
        try execute(
            "DELETE FROM task WHERE agent_id = ? AND seeded AND id NOT IN (SELECT value FROM json_each(?))",
            [agentID, Self.array(ids)])
    }

    private static func task(from row: Row) -> RegisteredTask {
        RegisteredTask(
            document: document(from: row), agentID: row["agent_id"], isEnabled: row["enabled"],
            createdAt: row["created_at"], updatedAt: row["updated_at"])
    }

    private static func document(from row: Row) -> TaskDocument {
        let arguments: ExactText = row["arguments"]
        return TaskDocument(id: row["id"], command: row["command"], cron: row["cron"], arguments: arguments.text)
    }
}
