public import AgentModel
import Diagnostics
public import Foundation

/// One run with its result, as the backend stored it.
public struct StoredRun: Equatable, Sendable {
    /// The backend's own id of it, a UUID.
    public var id: String
    public var agentID: String
    public var taskID: String
    /// The task's command at the time the result came.
    public var command: String
    /// As the agent sent it. Of a backend of part 1 only `data` is there.
    public var result: TaskResult
    public var receivedAt: Date
    /// What a run takes beside its texts, about, in bytes.
    static let overhead = 512

    /// What it counts for in its agent's storage, in bytes.
    var size: Int {
        let texts = [
            result.data, result.error?.code, result.error?.type, result.error?.message, result.error?.traceback,
            result.stdout, result.stderr, result.isolation, result.pythonStack, result.agentVersion,
        ]
        return texts.reduce(Self.overhead) { $0 + ($1?.utf8.count ?? 0) }
    }

    /// Whether long texts were cut to an excerpt, as lists do.
    public var isExcerpt = false
}

extension StoredRun: Encodable {
    private enum CodingKeys: String, CodingKey {
        case id, command, status, data, error, stdout, stderr, isolation
        case agentID = "agent_id"
        case taskID = "task_id"
        case runID = "run_id"
        case startedAt = "started_at"
        case finishedAt = "finished_at"
        case durationMilliseconds = "duration_ms"
        case scheduledFor = "scheduled_for"
        case pythonStack = "python_stack"
        case agentVersion = "agent_version"
        case receivedAt = "received_at"
        case isExcerpt = "is_excerpt"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(agentID, forKey: .agentID)
        try container.encode(taskID, forKey: .taskID)
        try container.encode(command, forKey: .command)
        try container.encode(result.runID, forKey: .runID)
        try container.encode(result.status, forKey: .status)
        try container.encode(result.data, forKey: .data)
        try container.encode(result.error, forKey: .error)
        try container.encode(result.stdout, forKey: .stdout)
        try container.encode(result.stderr, forKey: .stderr)
        try container.encode(result.startedAt.map(RFC3339.string(from:)), forKey: .startedAt)
        try container.encode(result.finishedAt.map(RFC3339.string(from:)), forKey: .finishedAt)
        try container.encode(result.durationMilliseconds, forKey: .durationMilliseconds)
        try container.encode(result.scheduledFor.map(RFC3339.string(from:)), forKey: .scheduledFor)
        try container.encode(result.isolation, forKey: .isolation)
        try container.encode(result.pythonStack, forKey: .pythonStack)
        try container.encode(result.agentVersion, forKey: .agentVersion)
        try container.encode(RFC3339.string(from: receivedAt), forKey: .receivedAt)
        try container.encode(isExcerpt, forKey: .isExcerpt)
    }
}

/// Which runs to list.
public struct RunFilter: Sendable {
    public var agentID: String?
    public var taskID: String?
    public var status: RunStatus?
    /// The agent's id of a run.
    public var runID: String?

    public init(agentID: String? = nil, taskID: String? = nil, status: RunStatus? = nil, runID: String? = nil) {
        self.agentID = agentID
        self.taskID = taskID
        self.status = status
        self.runID = runID
    }
}

/// What became of a result that came in.
public enum Delivery: Sendable {
    case stored(StoredRun)
    /// The run was there already; what is stored has not changed.
    case repeated(StoredRun)

    public var run: StoredRun {
        switch self {
        case .stored(let run), .repeated(let run): run
        }
    }
}
