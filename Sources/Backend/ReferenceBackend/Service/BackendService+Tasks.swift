public import AgentModel
import Diagnostics
import Foundation
import GRDB

extension BackendService {
    /// `GET /api/agent/tasks`: what is scheduled, and the one-off tasks that have no result yet.
    public func taskDocuments(for agentID: String) async throws -> [TaskDocument] {
        try await database.read { database in
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
    }

    /// - Throws: `ReferenceBackendError.notFound`.
    public func task(_ id: String) async throws -> RegisteredTask {
        try await database.read { try Self.task(id, in: $0) }
    }

    /// Tasks of all agents or of one, the oldest first.
    public func tasks(agentID: String? = nil, _ page: PageRequest = .first) async throws -> Page<RegisteredTask> {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM task WHERE sequence > ? AND (? IS NULL OR agent_id = ?) ORDER BY sequence LIMIT ?
                    """, arguments: [page.cursor ?? 0, agentID, agentID, page.limit + 1])
            return Page(rows: rows, limit: page.limit) {
                $0["sequence"]
            } element: {
                Self.task(from: $0)
            }
        }
    }

    /// Creates a task.
    /// - Throws: `ReferenceBackendError.invalidField` where the agent isn't there, the command isn't one of its
    ///   plugins', the schedule doesn't parse or the arguments aren't an object; `.alreadyExists`.
    public func createTask(_ new: NewTask) async throws -> RegisteredTask {
        try await createTasks([new])[0]
    }

    /// Creates many tasks, all or none.
    /// - Throws: As ``createTask(_:)``, about the first that is wrong.
    public func createTasks(_ new: [NewTask]) async throws -> [RegisteredTask] {
        let now = now()
        let tasks = try new.map { new in
            if let id = new.id { try Self.checkID(id, field: "id") }
            let document = TaskDocument(
                id: new.id ?? Self.newID(), command: new.command, cron: new.cron,
                arguments: try Self.checkedArguments(new.arguments))
            try Self.checkCron(document.cron)
            return RegisteredTask(
                document: document, agentID: new.agentID, isEnabled: new.isEnabled, createdAt: now, updatedAt: now)
        }
        return try await database.write { database in
            var commands: [String: Set<String>] = [:]
            for task in tasks {
                let known = try commands[task.agentID] ?? Self.commands(ofAgent: task.agentID, in: database)
                commands[task.agentID] = known
                try Self.check(task.document.command, isAmong: known, ofAgent: task.agentID)
                if try Self.exists(task: task.document.id, in: database) {
                    throw ReferenceBackendError.alreadyExists(.task, id: task.document.id)
                }
                try Self.save(task, seeded: false, in: database)
            }
            return try tasks.map { try Self.task($0.document.id, in: database) }
        }
    }

    /// Changes a task; what is checked at creation is checked again.
    /// - Throws: `ReferenceBackendError.notFound`, `.invalidField`.
    public func updateTask(_ id: String, _ change: TaskChange) async throws -> RegisteredTask {
        let now = now()
        return try await database.write { database in
            var task = try Self.task(id, in: database)
            task.document = TaskDocument(
                id: id, command: change.command.applied(to: task.document.command),
                cron: change.cron.applied(to: task.document.cron),
                arguments: try Self.checkedArguments(change.arguments.applied(to: task.document.arguments)))
            task.isEnabled = change.isEnabled.applied(to: task.isEnabled)
            task.updatedAt = now
            try Self.checkCron(task.document.cron)
            // A task whose plugin was taken away can still be disabled.
            if case .set = change.command {
                try Self.check(
                    task.document.command, isAmong: try Self.commands(ofAgent: task.agentID, in: database),
                    ofAgent: task.agentID)
            }
            try database.execute(
                sql: "UPDATE task SET command = ?, cron = ?, arguments = ?, enabled = ?, updated_at = ? WHERE id = ?",
                arguments: [
                    task.document.command, task.document.cron, ExactText(task.document.arguments), task.isEnabled, now,
                    id,
                ])
            return try Self.task(id, in: database)
        }
    }

    /// Removes a task; its runs stay. A result that comes later is refused as of an unknown task.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func deleteTask(_ id: String) async throws {
        try await database.write { database in
            try database.execute(sql: "DELETE FROM task WHERE id = ?", arguments: [id])
            if database.changesCount == 0 { throw ReferenceBackendError.notFound(.task, id: id) }
        }
    }

    static func task(_ id: String, in database: Database) throws -> RegisteredTask {
        guard let row = try Row.fetchOne(database, sql: "SELECT * FROM task WHERE id = ?", arguments: [id]) else {
            throw ReferenceBackendError.notFound(.task, id: id)
        }
        return task(from: row)
    }

    /// Keeps a task that was checked; one with its id is replaced.
    static func save(_ task: RegisteredTask, seeded: Bool, in database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO task (id, agent_id, done, command, cron, arguments, enabled, seeded, created_at, updated_at)
                VALUES (?, ?, EXISTS (SELECT 1 FROM run WHERE task_id = ? AND agent_id = ?), ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET agent_id = excluded.agent_id,
                    done = CASE WHEN agent_id = excluded.agent_id THEN done OR excluded.done ELSE excluded.done END,
                    command = excluded.command, cron = excluded.cron, arguments = excluded.arguments,
                    seeded = excluded.seeded, updated_at = excluded.updated_at
                """,
            arguments: [
                task.document.id, task.agentID, task.document.id, task.agentID, task.document.command,
                task.document.cron, ExactText(task.document.arguments), task.isEnabled, seeded, task.createdAt,
                task.updatedAt,
            ])
    }

    /// The commands of all plugins that are assigned to an agent.
    /// - Throws: `ReferenceBackendError.invalidField` for an unknown agent.
    static func commands(ofAgent agentID: String, in database: Database) throws -> Set<String> {
        guard try Row.fetchOne(database, sql: "SELECT 1 FROM agent WHERE id = ?", arguments: [agentID]) != nil else {
            throw ReferenceBackendError.invalidField("agent_id", problem: "there is no agent \(quoted(agentID))")
        }
        let maps = try String.fetchAll(
            database,
            sql: """
                SELECT plugin.commands FROM assignment JOIN plugin ON plugin.id = assignment.plugin_id
                WHERE assignment.agent_id = ?
                """, arguments: [agentID])
        return try maps.reduce(into: []) { names, map in
            names.formUnion(try JSONDecoder().decode([String: CommandDocument].self, from: Data(map.utf8)).keys)
        }
    }

    static func check(
        _ command: String, isAmong commands: Set<String>, ofAgent agentID: String
    ) throws(ReferenceBackendError) {
        guard commands.contains(command) else {
            throw .invalidField(
                "command",
                problem: "no plugin that is assigned to agent \(quoted(agentID)) has the command \(quoted(command)); "
                    + "names are PLUGIN_ID.COMMAND")
        }
    }

    private static func exists(task id: String, in database: Database) throws -> Bool {
        try Row.fetchOne(database, sql: "SELECT 1 FROM task WHERE id = ?", arguments: [id]) != nil
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
