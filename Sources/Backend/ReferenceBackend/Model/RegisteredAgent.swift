import AgentModel
import Diagnostics
public import Foundation

/// An agent as the backend keeps it.
public struct RegisteredAgent: Equatable, Sendable {
    public var id: String
    /// Null until somebody names it.
    public var name: String?
    public var teamID: String?
    /// The addresses that the agent is known by, where there is no login.
    public var addresses: [String]
    /// The ids of its plugins, in the order of their assignment.
    public var plugins: [String]
    public var createdAt: Date
    /// To about half a minute.
    public var lastSeenAt: Date?
    /// What its runs take, in bytes.
    public var storedBytes: Int
}

extension RegisteredAgent: Encodable {
    private enum CodingKeys: String, CodingKey {
        case id, name, addresses, plugins
        case teamID = "team_id"
        case createdAt = "created_at"
        case lastSeenAt = "last_seen_at"
        case storedBytes = "stored_bytes"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(name, forKey: .name)
        try container.encode(teamID, forKey: .teamID)
        try container.encode(addresses, forKey: .addresses)
        try container.encode(plugins, forKey: .plugins)
        try container.encode(RFC3339.string(from: createdAt), forKey: .createdAt)
        try container.encode(lastSeenAt.map(RFC3339.string(from:)), forKey: .lastSeenAt)
        try container.encode(storedBytes, forKey: .storedBytes)
    }
}

/// What to change of an agent.
public struct AgentChange: Sendable {
    public var name: Change<String?>
    public var teamID: Change<String?>

    public init(name: Change<String?> = .keep, teamID: Change<String?> = .keep) {
        self.name = name
        self.teamID = teamID
    }
}

/// What a change does with one field.
public enum Change<Value: Sendable>: Sendable {
    case keep
    case set(Value)

    /// The new value, where `value` is the one there is.
    func applied(to value: Value) -> Value {
        switch self {
        case .keep: value
        case .set(let new): new
        }
    }
}
