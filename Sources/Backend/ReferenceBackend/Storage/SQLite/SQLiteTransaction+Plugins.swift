import AgentModel
import Foundation
import GRDB

/// Plugins, and which agents have them.
extension SQLiteTransaction {
    func hasPlugin(_ id: String) throws -> Bool { try exists("SELECT 1 FROM plugin WHERE id = ?", [id]) }

    func plugin(_ id: String) throws -> PublishedPlugin? {
        try row("SELECT * FROM plugin WHERE id = ?", [id]).map(Self.plugin(from:))
    }

    func plugins(_ page: PageRequest) throws -> Page<PublishedPlugin> {
        try self.page(
            """
            SELECT sequence, id, name, version, description, x'' AS script, hash, commands, signature, key_id, sandbox,
                created_at
            FROM plugin WHERE sequence > ? ORDER BY sequence LIMIT ?
            """, [page.cursor ?? 0], limit: page.limit
        ) { row in
            var plugin = try Self.plugin(from: row)
            plugin.includesScript = false
            return plugin
        }
    }

    func isAssigned(_ pluginID: String, to agentID: String) throws -> Bool {
        try exists("SELECT 1 FROM assignment WHERE agent_id = ? AND plugin_id = ?", [agentID, pluginID])
    }

    func agents(withPlugin pluginID: String) throws -> [String] {
        try String.fetchAll(
            database, sql: "SELECT agent_id FROM assignment WHERE plugin_id = ? ORDER BY sequence",
            arguments: [pluginID])
    }

    func commands(ofAgent agentID: String) throws -> Set<String> {
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

    func save(_ plugin: PluginDocument, at now: Date) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        func text(_ value: some Encodable) throws -> String {
            String(decoding: try encoder.encode(value), as: UTF8.self)
        }
        try execute(
            """
            INSERT INTO plugin (id, name, version, description, script, hash, commands, signature, key_id, sandbox,
                created_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version,
                description = excluded.description, script = excluded.script, hash = excluded.hash,
                commands = excluded.commands, signature = excluded.signature, key_id = excluded.key_id,
                sandbox = excluded.sandbox
            """,
            [
                plugin.id, plugin.name, try text(plugin.version), plugin.description.map(ExactText.init),
                ExactText(plugin.script), plugin.hash, try text(plugin.commands), plugin.signature, plugin.keyID,
                try plugin.sandbox.map(text), now,
            ])
    }

    func deletePlugin(_ id: String) throws -> Bool { try change("DELETE FROM plugin WHERE id = ?", [id]) }

    func assign(_ pluginID: String, to agentID: String, isSeeded: Bool) throws {
        try execute(
            """
            INSERT INTO assignment (agent_id, plugin_id, seeded) VALUES (?, ?, ?)
            ON CONFLICT (agent_id, plugin_id) DO NOTHING
            """, [agentID, pluginID, isSeeded])
    }

    func unassign(_ pluginID: String, from agentID: String) throws -> Bool {
        try change("DELETE FROM assignment WHERE agent_id = ? AND plugin_id = ?", [agentID, pluginID])
    }

    func deleteSeededAssignments(ofAgent agentID: String, except pluginIDs: [String]) throws {
        try execute(
            """
            DELETE FROM assignment
            WHERE agent_id = ? AND seeded AND plugin_id NOT IN (SELECT value FROM json_each(?))
            """, [agentID, Self.array(pluginIDs)])
    }

    /// The JSON text of an array, for `json_each`.
    static func array(_ texts: [String]) -> String { JSONValue.array(texts.map(JSONValue.string)).text }

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
