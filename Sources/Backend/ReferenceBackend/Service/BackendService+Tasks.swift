public import AgentModel
import Diagnostics
import Foundation

extension BackendService {
    /// `GET /api/agent/tasks`: what is scheduled, and the one-off tasks that have no result yet.
    public func taskDocuments(for agentID: String) async throws -> [TaskDocument] {
        try await storage.read { try $0.dueTasks(ofAgent: agentID) }
    }

    /// - Throws: `ReferenceBackendError.notFound`.
    public func task(_ id: String) async throws -> RegisteredTask {
        try await storage.read { try $0.requireTask(id) }
    }

    /// Tasks of all agents or of one, the oldest first.
    public func tasks(agentID: String? = nil, _ page: PageRequest = .first) async throws -> Page<RegisteredTask> {
        try await storage.read { try $0.tasks(ofAgent: agentID, page) }
    }

    /// Creates a task.
    /// - Throws: `ReferenceBackendError.invalidField` where the agent isn't there, the command isn't one of its
    ///   plugins', the schedule doesn't parse or the arguments aren't an object; `.alreadyExists`.
    /// - Parameter isWatched: Whether somebody is about to follow its run: the agent tells what it prints from the first
    ///   byte on.
    public func createTask(_ new: NewTask, isWatched: Bool = false) async throws -> RegisteredTask {
        var new = new
        let id = new.id ?? Self.newID()
        new.id = id
        // Before the agent learns of the task, so that it learns of both at once.
        if isWatched { _ = live.watch(LiveRuns.Key(agentID: new.agentID, id: id)) }
        return try await createTasks([new])[0]
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
        return try await changing(Array(Set(tasks.map(\.agentID)))) { storage in
            var commands: [String: Set<String>] = [:]
            for task in tasks {
                let known = try commands[task.agentID] ?? Self.commands(ofAgent: task.agentID, in: storage)
                commands[task.agentID] = known
                try Self.check(task.document.command, isAmong: known, ofAgent: task.agentID)
                if try storage.hasTask(task.document.id) {
                    throw ReferenceBackendError.alreadyExists(.task, id: task.document.id)
                }
                try storage.save(task, isSeeded: false)
            }
            return try tasks.map { try storage.requireTask($0.document.id) }
        }
    }

    /// Changes a task; what is checked at creation is checked again.
    /// - Throws: `ReferenceBackendError.notFound`, `.invalidField`.
    public func updateTask(_ id: String, _ change: TaskChange) async throws -> RegisteredTask {
        let now = now()
        let agentID = try await task(id).agentID
        return try await changing([agentID]) { storage in
            var task = try storage.requireTask(id)
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
                    task.document.command, isAmong: try Self.commands(ofAgent: task.agentID, in: storage),
                    ofAgent: task.agentID)
            }
            try storage.update(task)
            return try storage.requireTask(id)
        }
    }

    /// Removes a task; its runs stay. A result that comes later is refused as of an unknown task.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func deleteTask(_ id: String) async throws {
        let agentID = try await task(id).agentID
        try await changing([agentID]) { storage in
            guard try storage.deleteTask(id) else { throw ReferenceBackendError.notFound(.task, id: id) }
        }
    }

    /// The commands of all plugins that are assigned to an agent.
    /// - Throws: `ReferenceBackendError.invalidField` for an unknown agent.
    private static func commands(
        ofAgent agentID: String, in storage: any StorageReader
    ) throws -> Set<String> {
        guard try storage.agent(agentID) != nil else {
            throw ReferenceBackendError.invalidField("agent_id", problem: "there is no agent \(quoted(agentID))")
        }
        return try storage.commands(ofAgent: agentID)
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
}
