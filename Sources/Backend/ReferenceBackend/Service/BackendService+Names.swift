import Diagnostics

/// What people call things, and what the backend calls them.
extension BackendService {
    /// The id of an agent.
    /// - Parameter text: Its id or its name.
    /// - Throws: `ReferenceBackendError.invalidField` where there is none, or more than one.
    func agentID(called text: String) async throws -> String {
        try await storage.read { storage in
            if try storage.agent(text) != nil { return text }
            let named = try storage.agents(named: text)
            if named.count == 1 { return named[0] }
            guard named.isEmpty else {
                throw ReferenceBackendError.invalidField(
                    "agent",
                    problem: "\(named.count) agents are called \(quoted(text)); name one by its id: "
                        + named.prefix(Self.shownNames).joined(separator: ", "))
            }
            let known = try storage.agents(PageRequest(limit: PageRequest.maximumLimit, cursor: nil)).elements
            throw ReferenceBackendError.invalidField(
                "agent",
                problem: "there is no agent \(quoted(text))"
                    + Self.suggestion(known.map { $0.name ?? $0.id }, none: "none has logged in yet", some: "there are")
            )
        }
    }

    /// The full name of a command.
    /// - Parameter text: That, or without the plugin's id where only one assigned plugin has it.
    /// - Throws: `ReferenceBackendError.invalidField` where there is none, or more than one.
    func command(called text: String, ofAgent agentID: String) async throws -> String {
        let known = try await storage.read { try $0.commands(ofAgent: agentID) }
        if known.contains(text) { return text }
        let fitting = known.filter { $0.hasSuffix("." + text) }.sorted()
        if fitting.count == 1 { return fitting[0] }
        guard fitting.isEmpty else {
            throw ReferenceBackendError.invalidField(
                "command",
                problem: "\(fitting.count) plugins have a command \(quoted(text)); name one in full: "
                    + fitting.prefix(Self.shownNames).joined(separator: ", "))
        }
        throw ReferenceBackendError.invalidField(
            "command",
            problem: "no plugin that is assigned to this agent has the command \(quoted(text))"
                + Self.suggestion(known.sorted(), none: "none is assigned", some: "there are"))
    }

    private static let shownNames = 20

    private static func suggestion(_ known: [String], none: String, some: String) -> String {
        guard !known.isEmpty else { return "; \(none)" }
        let rest = known.count > shownNames ? " and \(known.count - shownNames) more" : ""
        return "; \(some) " + known.prefix(shownNames).map { quoted($0) }.joined(separator: ", ") + rest
    }
}
