import AgentModel
import Diagnostics
public import Foundation

extension BackendService {
    /// Takes in a seed folder, all of it or nothing.
    ///
    /// The agent of the seed is the one on this machine: it is bound to the loopback addresses. Done again, it
    /// updates what it brought before and takes away what is no longer in the folder; what was made by other means,
    /// and every run, stays.
    /// - Throws: `ReferenceBackendError.seed`, which names the file.
    public func seed(from folder: URL) async throws {
        let seed = try await Self.blocking { try SeedFolder(contentsOf: folder) }
        let now = now()
        try await storage.write { storage in
            for plugin in seed.plugins { try storage.save(plugin, at: now) }
            try Self.seedAgent(seed.agent, at: now, in: storage)
            try Self.seedTasks(seed.tasks, of: seed.agent.id, at: now, in: storage)
        }
        waits.wakeAll()
    }

    private static let loopbackAddresses = ["127.0.0.1", "::1"]

    private static func seedAgent(_ agent: AgentDocument, at now: Date, in storage: any StorageWriter) throws {
        let file = "agent.json"
        do {
            try checkID(agent.id, field: "data.id")
            if let name = agent.name { try checkText(name, field: "data.name") }
            if let teamID = agent.teamID { try checkText(teamID, field: "data.team_id") }
        } catch {
            throw ReferenceBackendError.seed(file: file, problem: error.message)
        }
        try storage.insertAgent(agent.id, at: now)
        try storage.updateAgent(agent.id, name: agent.name, teamID: agent.teamID)
        for address in loopbackAddresses { try storage.bind(address, to: agent.id) }

        try storage.deleteSeededAssignments(ofAgent: agent.id, except: agent.plugins)
        for plugin in agent.plugins {
            guard try storage.hasPlugin(plugin) else {
                throw ReferenceBackendError.seed(
                    file: file, problem: "it lists the plugin \(quoted(plugin)), and there is no plugin-\(plugin).json")
            }
            try storage.assign(plugin, to: agent.id, isSeeded: true)
        }
    }

    private static func seedTasks(
        _ tasks: [TaskDocument], of agentID: String, at now: Date, in storage: any StorageWriter
    ) throws {
        try storage.deleteSeededTasks(ofAgent: agentID, except: tasks.map(\.id))
        let commands = try storage.commands(ofAgent: agentID)
        for task in tasks {
            do {
                try checkID(task.id, field: "id")
                try checkCron(task.cron)
                var task = task
                task.arguments = try checkedArguments(task.arguments)
                try check(task.command, isAmong: commands, ofAgent: agentID)
                let registered = RegisteredTask(
                    document: task, agentID: agentID, isEnabled: true, createdAt: now, updatedAt: now)
                try storage.save(registered, isSeeded: true)
            } catch let error as ReferenceBackendError {
                throw ReferenceBackendError.seed(
                    file: "tasks.json", problem: "task \(quoted(task.id)): \(error.message)")
            }
        }
    }
}
