public import AgentModel
import Diagnostics
public import Foundation

/// A task as the backend keeps it.
public struct RegisteredTask: Equatable, Sendable {
    public var document: TaskDocument
    public var agentID: String
    /// A task that isn't enabled is not listed to its agent.
    public var isEnabled: Bool
    public var createdAt: Date
    public var updatedAt: Date
}

extension RegisteredTask: Encodable {
    private enum CodingKeys: String, CodingKey {
        case id, command, cron, arguments, enabled
        case agentID = "agent_id"
        case createdAt = "created_at"
        case updatedAt = "updated_at"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(document.id, forKey: .id)
        try container.encode(agentID, forKey: .agentID)
        try container.encode(document.command, forKey: .command)
        try container.encode(document.cron, forKey: .cron)
        try container.encode(document.arguments, forKey: .arguments)
        try container.encode(isEnabled, forKey: .enabled)
        try container.encode(RFC3339.string(from: createdAt), forKey: .createdAt)
        try container.encode(RFC3339.string(from: updatedAt), forKey: .updatedAt)
    }
}

/// A task to create.
public struct NewTask: Sendable {
    /// Nil for a new UUID.
    public var id: String?
    public var agentID: String
    /// A command of a plugin that is assigned to the agent.
    public var command: String
    /// Nil: run once.
    public var cron: String?
    /// The JSON text of an object.
    public var arguments: String
    public var isEnabled: Bool

    public init(
        id: String? = nil, agentID: String, command: String, cron: String? = nil, arguments: String = "{}",
        isEnabled: Bool = true
    ) {
        self.id = id
        self.agentID = agentID
        self.command = command
        self.cron = cron
        self.arguments = arguments
        self.isEnabled = isEnabled
    }
}

/// What to change of a task.
public struct TaskChange: Sendable {
    public var command: Change<String>
    public var cron: Change<String?>
    public var arguments: Change<String>
    public var isEnabled: Change<Bool>

    public init(
        command: Change<String> = .keep, cron: Change<String?> = .keep, arguments: Change<String> = .keep,
        isEnabled: Change<Bool> = .keep
    ) {
        self.command = command
        self.cron = cron
        self.arguments = arguments
        self.isEnabled = isEnabled
    }
}
