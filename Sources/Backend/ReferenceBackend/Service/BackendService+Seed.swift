import AgentModel
import Diagnostics
public import Foundation
import GRDB

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
        try await database.write { database in
            for plugin in seed.plugins { try Self.save(plugin, at: now, in: database) }
            try Self.seedAgent(seed.agent, at: now, in: database)
            try Self.seedTasks(seed.tasks, of: seed.agent.id, at: now, in: database)
        }
    }

    private static let loopbackAddresses = ["127.0.0.1", "::1"]

    private static func seedAgent(_ agent: AgentDocument, at now: Date, in database: Database) throws {
        let file = "agent.json"
        do {
            try checkID(agent.id, field: "data.id")
            if let name = agent.name { try checkText(name, field: "data.name") }
            if let teamID = agent.teamID { try checkText(teamID, field: "data.team_id") }
        } catch {
            throw ReferenceBackendError.seed(file: file, problem: error.message)
        }
        try insertAgent(agent.id, at: now, in: database)
        try database.execute(
            sql: "UPDATE agent SET name = ?, team_id = ? WHERE id = ?", arguments: [agent.name, agent.teamID, agent.id])
        for address in loopbackAddresses { try bind(address, to: agent.id, in: database) }

        let plugins = try arrayText(agent.plugins)
        try database.execute(
            sql: """
                DELETE FROM assignment
                WHERE agent_id = ? AND seeded AND plugin_id NOT IN (SELECT value FROM json_each(?))
                """, arguments: [agent.id, plugins])
        for plugin in agent.plugins {
            guard try exists(plugin: plugin, in: database) else {
                throw ReferenceBackendError.seed(
                    file: file, problem: "it lists the plugin \(quoted(plugin)), and there is no plugin-\(plugin).json")
            }
            try assign(plugin, to: agent.id, seeded: true, in: database)
        }
    }

    private static func seedTasks(
        _ tasks: [TaskDocument], of agentID: String, at now: Date, in database: Database
    ) throws {
        try database.execute(
            sql: """
                DELETE FROM task WHERE agent_id = ? AND seeded AND id NOT IN (SELECT value FROM json_each(?))
                """, arguments: [agentID, try arrayText(tasks.map(\.id))])
        let commands = try commands(ofAgent: agentID, in: database)
        for task in tasks {
            do {
                try checkID(task.id, field: "id")
                try checkCron(task.cron)
                var task = task
                task.arguments = try checkedArguments(task.arguments)
                try check(task.command, isAmong: commands, ofAgent: agentID)
                let registered = RegisteredTask(
                    document: task, agentID: agentID, isEnabled: true, createdAt: now, updatedAt: now)
                try save(registered, seeded: true, in: database)
            } catch let error as ReferenceBackendError {
                throw ReferenceBackendError.seed(
                    file: "tasks.json", problem: "task \(quoted(task.id)): \(error.message)")
            }
        }
    }

    private static func arrayText(_ texts: [String]) throws -> String {
        JSONValue.array(texts.map(JSONValue.string)).text
    }
}
