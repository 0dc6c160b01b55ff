public import AgentModel
import Cryptography
import Diagnostics
import Foundation
import GRDB

extension BackendService {
    /// The largest script that agents take, in bytes.
    public static let maximumScriptSize = 8 << 20

    /// `GET /api/agent/plugin/{id}`.
    /// - Throws: `ReferenceBackendError.notFound` also for a plugin that is not assigned to this agent.
    public func pluginDocument(_ id: String, for agentID: String) async throws -> PluginDocument {
        try await database.read { database in
            guard try Self.isAssigned(id, to: agentID, in: database) else {
                throw ReferenceBackendError.notFound(.plugin, id: id)
            }
            return try Self.plugin(id, in: database).document
        }
    }

    /// - Throws: `ReferenceBackendError.notFound`.
    public func plugin(_ id: String) async throws -> PublishedPlugin {
        try await database.read { try Self.plugin(id, in: $0) }
    }

    /// Plugins without their scripts, the oldest first.
    public func plugins(_ page: PageRequest = .first) async throws -> Page<PublishedPlugin> {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT sequence, id, name, version, description, x'' AS script, hash, commands, signature, key_id,
                        sandbox, created_at
                    FROM plugin WHERE sequence > ? ORDER BY sequence LIMIT ?
                    """, arguments: [page.cursor ?? 0, page.limit + 1])
            return try Page(rows: rows, limit: page.limit) {
                $0["sequence"]
            } element: { row in
                var plugin = try Self.plugin(from: row)
                plugin.includesScript = false
                return plugin
            }
        }
    }

    /// Publishes a version of a plugin under an id of its own and computes its hash.
    /// - Throws: `ReferenceBackendError.invalidField`, `.alreadyExists`.
    public func publish(_ plugin: NewPlugin) async throws -> PublishedPlugin {
        let document = try Self.document(for: plugin)
        let now = now()
        return try await database.write { database in
            if try Self.exists(plugin: document.id, in: database) {
                throw ReferenceBackendError.alreadyExists(.plugin, id: document.id)
            }
            try Self.save(document, at: now, in: database)
            return try Self.plugin(document.id, in: database)
        }
    }

    /// Deletes a version of a plugin that no agent has any more.
    /// - Throws: `ReferenceBackendError.notFound`, `.pluginAssigned`.
    public func deletePlugin(_ id: String) async throws {
        try await database.write { database in
            let agents = try String.fetchAll(
                database, sql: "SELECT agent_id FROM assignment WHERE plugin_id = ? ORDER BY sequence", arguments: [id])
            guard agents.isEmpty else { throw ReferenceBackendError.pluginAssigned(id: id, agentIDs: agents) }
            try database.execute(sql: "DELETE FROM plugin WHERE id = ?", arguments: [id])
            if database.changesCount == 0 { throw ReferenceBackendError.notFound(.plugin, id: id) }
        }
    }

    /// Gives an agent a plugin. Giving it twice changes nothing.
    /// - Throws: `ReferenceBackendError.notFound` for either.
    public func assign(_ pluginID: String, to agentID: String) async throws -> RegisteredAgent {
        try await database.write { database in
            _ = try Self.agent(agentID, in: database)
            guard try Self.exists(plugin: pluginID, in: database) else {
                throw ReferenceBackendError.notFound(.plugin, id: pluginID)
            }
            try Self.assign(pluginID, to: agentID, seeded: false, in: database)
            return try Self.agent(agentID, in: database)
        }
    }

    /// Takes a plugin from an agent. Tasks for its commands stay, and the agent reports them as rejected.
    /// - Throws: `ReferenceBackendError.notFound` for the agent, or for a plugin that it doesn't have.
    public func unassign(_ pluginID: String, from agentID: String) async throws -> RegisteredAgent {
        try await database.write { database in
            _ = try Self.agent(agentID, in: database)
            try database.execute(
                sql: "DELETE FROM assignment WHERE agent_id = ? AND plugin_id = ?", arguments: [agentID, pluginID])
            if database.changesCount == 0 { throw ReferenceBackendError.notFound(.plugin, id: pluginID) }
            return try Self.agent(agentID, in: database)
        }
    }

    /// The document of a plugin to publish, checked, with its id, hash and full command names.
    static func document(for plugin: NewPlugin) throws(ReferenceBackendError) -> PluginDocument {
        let id = plugin.id ?? newID()
        try checkID(id, field: "id")
        try checkText(plugin.name, field: "name")
        guard !plugin.script.isEmpty else { throw .invalidField("script", problem: "it is empty") }
        guard plugin.script.utf8.count <= maximumScriptSize else {
            throw .invalidField("script", problem: "it is larger than \(maximumScriptSize) bytes")
        }
        if let signature = plugin.signature { try checkText(signature, field: "signature") }
        if let keyID = plugin.keyID { try checkText(keyID, field: "key_id") }
        if let sandbox = plugin.sandbox { try checkSandboxRequest(sandbox) }
        let hash = SHA512.hash(plugin.script.utf8).hex
        if let given = plugin.hash, given.lowercased() != hash {
            throw .invalidField("hash", problem: "the script's SHA-512 is \(hash); leave it out to have it computed")
        }
        return PluginDocument(
            id: id, name: plugin.name, version: plugin.version, description: plugin.description,
            script: plugin.script, hash: hash, commands: try commands(plugin.commands, ofPlugin: id),
            signature: plugin.signature, keyID: plugin.keyID, sandbox: plugin.sandbox)
    }

    private static func commands(
        _ commands: [String: CommandDocument], ofPlugin id: String
    ) throws(ReferenceBackendError) -> [String: CommandDocument] {
        var result: [String: CommandDocument] = [:]
        for (key, command) in commands {
            let field = "commands.\(key)"
            try checkText(key, field: field)
            guard command.hasCallableFunction else {
                throw .invalidField(
                    field,
                    problem: "the function \(quoted(command.function)) is not a plain public method name, an "
                        + "identifier that does not begin with an underscore")
            }
            let name = key.hasPrefix(id + ".") ? key : "\(id).\(key)"
            guard result[name] == nil else { throw .invalidField(field, problem: "it is there twice") }
            result[name] = CommandDocument(id: command.id ?? newID(), name: name, function: command.function)
        }
        return result
    }

    static func exists(plugin id: String, in database: Database) throws -> Bool {
        try Row.fetchOne(database, sql: "SELECT 1 FROM plugin WHERE id = ?", arguments: [id]) != nil
    }

    static func plugin(_ id: String, in database: Database) throws -> PublishedPlugin {
        guard let row = try Row.fetchOne(database, sql: "SELECT * FROM plugin WHERE id = ?", arguments: [id]) else {
            throw ReferenceBackendError.notFound(.plugin, id: id)
        }
        return try plugin(from: row)
    }

    /// Keeps a document that was checked; one with its id is replaced.
    static func save(_ document: PluginDocument, at now: Date, in database: Database) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        func text(_ value: some Encodable) throws -> String {
            String(decoding: try encoder.encode(value), as: UTF8.self)
        }
        try database.execute(
            sql: """
                INSERT INTO plugin (id, name, version, description, script, hash, commands, signature, key_id, sandbox,
                    created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version,
                    description = excluded.description, script = excluded.script, hash = excluded.hash,
                    commands = excluded.commands, signature = excluded.signature, key_id = excluded.key_id,
                    sandbox = excluded.sandbox
                """,
            arguments: [
                document.id, document.name, try text(document.version),
                document.description.map(ExactText.init), ExactText(document.script), document.hash,
                try text(document.commands), document.signature,
                document.keyID, try document.sandbox.map(text), now,
            ])
    }

    static func assign(_ pluginID: String, to agentID: String, seeded: Bool, in database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO assignment (agent_id, plugin_id, seeded) VALUES (?, ?, ?)
                ON CONFLICT (agent_id, plugin_id) DO NOTHING
                """, arguments: [agentID, pluginID, seeded])
    }

    private static func isAssigned(_ pluginID: String, to agentID: String, in database: Database) throws -> Bool {
        try Row.fetchOne(
            database, sql: "SELECT 1 FROM assignment WHERE agent_id = ? AND plugin_id = ?",
            arguments: [agentID, pluginID]) != nil
    }

    private static func plugin(from row: Row) throws -> PublishedPlugin {
        let decoder = JSONDecoder()
        func value<T: Decodable>(_ type: T.Type, _ column: String) throws -> T {
            let text: String = row[column]
            return try decoder.decode(type, from: Data(text.utf8))
        }
        let script: ExactText = row["script"]
        let description: ExactText? = row["description"]
        let hasSandbox = (row["sandbox"] as String?) != nil
        return PublishedPlugin(
            document: PluginDocument(
                id: row["id"], name: row["name"], version: try value(PluginVersion?.self, "version"),
                description: description?.text, script: script.text, hash: row["hash"],
                commands: try value([String: CommandDocument].self, "commands"), signature: row["signature"],
                keyID: row["key_id"],
                sandbox: hasSandbox ? try value(SandboxRequest.self, "sandbox") : nil),
            createdAt: row["created_at"])
    }
}
