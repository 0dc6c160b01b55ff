import Diagnostics
public import Foundation

/// The body of `PUT /api/agent/run/{RUN_ID}`: how a run that has no result yet is doing (part 2 of the contract).
public struct RunProgress: Codable, Equatable, Sendable {
    public enum Status: String, Codable, Sendable {
        case running
        /// The agent knows no such run: the answer to a cancel that matches none.
        case unknown
    }

    public var status: Status
    /// Nil where the run is unknown.
    public var taskID: String?
    public var startedAt: Date?

    public init(status: Status, taskID: String? = nil, startedAt: Date? = nil) {
        self.status = status
        self.taskID = taskID
        self.startedAt = startedAt
    }

    private enum CodingKeys: String, CodingKey {
        case status
        case taskID = "task_id"
        case startedAt = "started_at"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        status = try container.decode(Status.self, forKey: .status)
        taskID = try container.decodeIfPresent(String.self, forKey: .taskID)
        startedAt = try container.decodeTime(forKey: .startedAt)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(status, forKey: .status)
        try container.encodeIfPresent(taskID, forKey: .taskID)
        try container.encodeIfPresent(startedAt.map(RFC3339.string(from:)), forKey: .startedAt)
    }
}
