/// Finds the agent that a person means.
enum HostChoice {
    /// - Parameter text: An id or a name.
    /// - Throws: `ClientError.unknownHost`, `.ambiguousHost`.
    static func find(_ text: String, among agents: [AgentRow]) throws(ClientError) -> AgentRow {
        if let agent = agents.first(where: { $0.id == text }) { return agent }
        let named = agents.filter { $0.name == text }
        guard named.count <= 1 else { throw .ambiguousHost(text, ids: named.map(\.id)) }
        guard let agent = named.first else { throw .unknownHost(text, known: agents.map(\.displayName).sorted()) }
        return agent
    }
}
