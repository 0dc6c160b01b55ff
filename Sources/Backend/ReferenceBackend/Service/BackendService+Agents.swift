public import AgentModel
import Foundation
import GRDB

extension BackendService {
    /// The agent that is known by an address; one that isn't known yet is registered, without a name.
    ///
    /// - Parameter address: An IP address as the socket gave it. An IPv4 address within IPv6 (RFC 4291,
    ///   section 2.5.5.2) is the IPv4 address.
    /// - Returns: The agent's id.
    public func agentID(atAddress address: String) async throws -> String {
        let address = Self.canonical(address)
        let now = now()
        let known = try await database.read { try Self.agent(atAddress: address, in: $0) }
        if let known, !Self.isWorthNoting(now, after: known.lastSeenAt) { return known.id }
        return try await database.write { database in
            let id = try Self.agent(atAddress: address, in: database)?.id ?? Self.newID()
            try Self.insertAgent(id, at: now, in: database)
            try Self.bind(address, to: id, in: database)
            try database.execute(sql: "UPDATE agent SET last_seen_at = ? WHERE id = ?", arguments: [now, id])
            return id
        }
    }

    /// Registers an agent by hand, or changes where it is known.
    /// - Parameter addresses: Taken from whatever agent has had them.
    public func registerAgent(
        id: String, name: String? = nil, teamID: String? = nil, addresses: [String] = []
    ) async throws -> RegisteredAgent {
        try Self.checkID(id, field: "id")
        let now = now()
        return try await database.write { database in
            try Self.insertAgent(id, at: now, in: database)
            try database.execute(
                sql: "UPDATE agent SET name = ?, team_id = ? WHERE id = ?", arguments: [name, teamID, id])
            for address in addresses { try Self.bind(Self.canonical(address), to: id, in: database) }
            return try Self.agent(id, in: database)
        }
    }

    /// `GET /api/agent`.
    public func agentDocument(for agentID: String) async throws -> AgentDocument {
        let agent = try await agent(agentID)
        return AgentDocument(
            id: agent.id, name: agent.name, teamID: agent.teamID, plugins: agent.plugins, backendID: self.id)
    }

    /// - Throws: `ReferenceBackendError.notFound`.
    public func agent(_ id: String) async throws -> RegisteredAgent {
        try await database.read { try Self.agent(id, in: $0) }
    }

    /// Agents, the oldest first.
    public func agents(_ page: PageRequest = .first) async throws -> Page<RegisteredAgent> {
        try await database.read { database in
            let rows = try Row.fetchAll(
                database, sql: "SELECT * FROM agent WHERE sequence > ? ORDER BY sequence LIMIT ?",
                arguments: [page.cursor ?? 0, page.limit + 1])
            return try Page(rows: rows, limit: page.limit) {
                $0["sequence"]
            } element: {
                try Self.agent(from: $0, in: database)
            }
        }
    }

    /// - Throws: `ReferenceBackendError.notFound`, `.invalidField`.
    public func updateAgent(_ id: String, _ change: AgentChange) async throws -> RegisteredAgent {
        if case .set(let name?) = change.name { try Self.checkText(name, field: "name") }
        if case .set(let teamID?) = change.teamID { try Self.checkText(teamID, field: "team_id") }
        return try await database.write { database in
            let agent = try Self.agent(id, in: database)
            try database.execute(
                sql: "UPDATE agent SET name = ?, team_id = ? WHERE id = ?",
                arguments: [change.name.applied(to: agent.name), change.teamID.applied(to: agent.teamID), id])
            return try Self.agent(id, in: database)
        }
    }

    /// Forgets an agent with its tasks and tokens; its runs stay.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func deleteAgent(_ id: String) async throws {
        try await database.write { database in
            try database.execute(sql: "DELETE FROM agent WHERE id = ?", arguments: [id])
            if database.changesCount == 0 { throw ReferenceBackendError.notFound(.agent, id: id) }
        }
    }

    // An agent polls every minute or so: a write and a sync to disk for each poll would buy nothing.
    static func isWorthNoting(_ now: Date, after lastSeenAt: Date?) -> Bool {
        guard let lastSeenAt else { return true }
        return now.timeIntervalSince(lastSeenAt).magnitude >= 30
    }

    static func canonical(_ address: String) -> String {
        let prefix = "::ffff:"
        guard address.lowercased().hasPrefix(prefix), address.contains(".") else { return address }
        return String(address.dropFirst(prefix.count))
    }

    static func insertAgent(_ id: String, at now: Date, in database: Database) throws {
        try database.execute(
            sql: "INSERT INTO agent (id, created_at) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", arguments: [id, now])
    }

    static func bind(_ address: String, to agentID: String, in database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO agent_address (address, agent_id) VALUES (?, ?)
                ON CONFLICT (address) DO UPDATE SET agent_id = excluded.agent_id
                """, arguments: [address, agentID])
    }

    static func agent(_ id: String, in database: Database) throws -> RegisteredAgent {
        guard let row = try Row.fetchOne(database, sql: "SELECT * FROM agent WHERE id = ?", arguments: [id]) else {
            throw ReferenceBackendError.notFound(.agent, id: id)
        }
        return try agent(from: row, in: database)
    }

    private static func agent(atAddress address: String, in database: Database) throws -> (
        id: String, lastSeenAt: Date?
    )? {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT agent.id, agent.last_seen_at FROM agent_address
                JOIN agent ON agent.id = agent_address.agent_id WHERE agent_address.address = ?
                """, arguments: [address])
        return row.map { ($0["id"], $0["last_seen_at"]) }
    }

    private static func agent(from row: Row, in database: Database) throws -> RegisteredAgent {
        let id: String = row["id"]
        return RegisteredAgent(
            id: id, name: row["name"], teamID: row["team_id"],
            addresses: try String.fetchAll(
                database, sql: "SELECT address FROM agent_address WHERE agent_id = ? ORDER BY address",
                arguments: [id]),
            plugins: try String.fetchAll(
                database, sql: "SELECT plugin_id FROM assignment WHERE agent_id = ? ORDER BY sequence",
                arguments: [id]),
            createdAt: row["created_at"], lastSeenAt: row["last_seen_at"],
            storedBytes: try storedBytes(ofAgent: id, in: database))
    }
}
