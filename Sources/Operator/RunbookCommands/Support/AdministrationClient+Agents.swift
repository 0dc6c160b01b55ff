import AgentModel
import Foundation

extension AdministrationClient {
    /// - Parameter text: An agent's id or name.
    /// - Throws: `ClientError.unknownHost`, `.ambiguousHost`.
    func agent(_ text: String) async throws -> Document<AgentRow> {
        do {
            return try value(try await get("agents/\(Self.segment(text))"))
        } catch ClientError.refused("agent.not_found", _) {
            let agents = try await all("agents", as: AgentRow.self)
            let found = try HostChoice.find(text, among: agents)
            return try value(try await get("agents/\(Self.segment(found.id))"))
        }
    }

    /// The full names of an agent's commands.
    func commands(of agent: AgentRow) async throws -> [String] {
        var names: [String] = []
        for id in agent.plugins {
            let plugin: PluginRow = try value(try await get("plugins/\(Self.segment(id))"))
            names += plugin.commands.names
        }
        return names.sorted()
    }
}
