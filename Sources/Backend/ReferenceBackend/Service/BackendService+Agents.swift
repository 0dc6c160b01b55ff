public import AgentModel
import Foundation

extension BackendService {
    /// The agent that is known by an address; one that isn't known yet is registered, without a name.
    ///
    /// - Parameter address: An IP address as the socket gave it. An IPv4 address within IPv6 (RFC 4291,
    ///   section 2.5.5.2) is the IPv4 address.
    /// - Returns: The agent's id.
    public func agentID(atAddress address: String) async throws -> String {
        let address = Self.canonical(address)
        let now = now()
        let known = try await storage.read { try $0.agent(atAddress: address) }
        if let known, !Self.isWorthNoting(now, after: known.lastSeenAt) { return known.agentID }
        return try await storage.write { storage in
            let id = try storage.agent(atAddress: address)?.agentID ?? Self.newID()
            try storage.insertAgent(id, at: now)
            try storage.bind(address, to: id)
            try storage.noteContact(ofAgent: id, at: now)
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
        return try await changing([id]) { storage in
            try storage.insertAgent(id, at: now)
            try storage.updateAgent(id, name: name, teamID: teamID)
            for address in addresses { try storage.bind(Self.canonical(address), to: id) }
            return try storage.requireAgent(id)
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
        try await storage.read { try $0.requireAgent(id) }
    }

    /// Agents, the oldest first.
    public func agents(_ page: PageRequest = .first) async throws -> Page<RegisteredAgent> {
        try await storage.read { try $0.agents(page) }
    }

    /// - Throws: `ReferenceBackendError.notFound`, `.invalidField`.
    public func updateAgent(_ id: String, _ change: AgentChange) async throws -> RegisteredAgent {
        if case .set(let name?) = change.name { try Self.checkText(name, field: "name") }
        if case .set(let teamID?) = change.teamID { try Self.checkText(teamID, field: "team_id") }
        return try await changing([id]) { storage in
            let agent = try storage.requireAgent(id)
            try storage.updateAgent(
                id, name: change.name.applied(to: agent.name), teamID: change.teamID.applied(to: agent.teamID))
            return try storage.requireAgent(id)
        }
    }

    /// Forgets an agent with its tasks and tokens; its runs stay.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func deleteAgent(_ id: String) async throws {
        try await changing([id]) { storage in
            guard try storage.deleteAgent(id) else { throw ReferenceBackendError.notFound(.agent, id: id) }
        }
    }

    /// Changes the storage in something that concerns these agents, and has them look again once it is stored.
    func changing<T: Sendable>(
        _ agentIDs: [String], _ body: @escaping @Sendable (any StorageWriter) throws -> T
    ) async throws -> T {
        let value = try await storage.write(body)
        waits.wake(agentIDs)
        return value
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
}
