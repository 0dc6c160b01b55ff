import Diagnostics
public import Foundation

/// A run of which its agent has said that it is under way, and that has no result yet.
public struct RunInProgress: Equatable, Sendable {
    /// The agent's own id of it.
    public var runID: String
    public var agentID: String
    public var taskID: String
    public var command: String
    public var startedAt: Date
}

extension RunInProgress: Encodable {
    private enum CodingKeys: String, CodingKey {
        case command
        case runID = "run_id"
        case agentID = "agent_id"
        case taskID = "task_id"
        case startedAt = "started_at"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(runID, forKey: .runID)
        try container.encode(agentID, forKey: .agentID)
        try container.encode(taskID, forKey: .taskID)
        try container.encode(command, forKey: .command)
        try container.encode(RFC3339.string(from: startedAt), forKey: .startedAt)
    }
}
