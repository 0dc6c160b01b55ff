import Foundation
import GRDB

extension SQLiteTransaction {
    func agents(named name: String) throws -> [String] {
        try String.fetchAll(database, sql: "SELECT id FROM agent WHERE name = ? ORDER BY sequence", arguments: [name])
    }

    func agent(_ id: String) throws -> RegisteredAgent? {
        try row("SELECT * FROM agent WHERE id = ?", [id]).map(agent(from:))
    }

    func agent(atAddress address: String) throws -> AgentContact? {
        let row = try row(
            """
            SELECT agent.id, agent.last_seen_at FROM agent_address
            JOIN agent ON agent.id = agent_address.agent_id WHERE agent_address.address = ?
            """, [address])
        return row.map { AgentContact(agentID: $0["id"], lastSeenAt: $0["last_seen_at"]) }
    }

    func lastContact(ofAgent id: String) throws -> Date? {
        try row("SELECT last_seen_at FROM agent WHERE id = ?", [id])?["last_seen_at"]
    }

    func agents(_ page: PageRequest) throws -> Page<RegisteredAgent> {
        try self.page(
            "SELECT * FROM agent WHERE sequence > ? ORDER BY sequence LIMIT ?", [page.cursor ?? 0], limit: page.limit,
            element: agent(from:))
    }

    func storedBytes(ofAgent id: String) throws -> Int {
        try Int.fetchOne(database, sql: "SELECT bytes FROM agent_storage WHERE agent_id = ?", arguments: [id]) ?? 0
    }

    func insertAgent(_ id: String, at now: Date) throws {
        try execute("INSERT INTO agent (id, created_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", [id, now])
    }

    func updateAgent(_ id: String, name: String?, teamID: String?) throws {
        try execute("UPDATE agent SET name = ?, team_id = ? WHERE id = ?", [name, teamID, id])
    }

    func bind(_ address: String, to agentID: String) throws {
        try execute(
            """
            INSERT INTO agent_address (address, agent_id) VALUES (?, ?)
            ON CONFLICT (address) DO UPDATE SET agent_id = excluded.agent_id
            """, [address, agentID])
    }

    func noteContact(ofAgent id: String, at now: Date) throws {
        try execute("UPDATE agent SET last_seen_at = ? WHERE id = ?", [now, id])
    }

    func deleteAgent(_ id: String) throws -> Bool { try change("DELETE FROM agent WHERE id = ?", [id]) }

    private func agent(from row: Row) throws -> RegisteredAgent {
        let id: String = row["id"]
        return RegisteredAgent(
            id: id, name: row["name"], teamID: row["team_id"],
            addresses: try String.fetchAll(
                database, sql: "SELECT address FROM agent_address WHERE agent_id = ? ORDER BY address",
                arguments: [id]),
            plugins: try String.fetchAll(
                database, sql: "SELECT plugin_id FROM assignment WHERE agent_id = ? ORDER BY sequence",
                arguments: [id]),
            createdAt: row["created_at"], lastSeenAt: row["last_seen_at"], storedBytes: try storedBytes(ofAgent: id))
    }
}
