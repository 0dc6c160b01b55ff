import AgentModel
import CommandOutput
import Foundation

// What the administration API answers with, as far as it is used here. `raw` is all of it, for `--json`.

/// Something whose whole JSON is kept beside what is read of it.
struct Document<Content: Decodable>: Decodable {
    let content: Content
    let raw: JSONValue

    init(from decoder: any Decoder) throws {
        content = try Content(from: decoder)
        raw = try JSONValue(from: decoder)
    }
}

extension Document: Encodable {
    func encode(to encoder: any Encoder) throws { try raw.encode(to: encoder) }
}

extension Document: Sendable where Content: Sendable {}

extension Document: Listable where Content: Row {
    static var header: [String] { Content.header }
    var cells: [String] { content.cells }
    static var shrinking: [Int] { Content.shrinking }
}

/// A line of a table.
protocol Row: Decodable, Sendable {
    static var header: [String] { get }
    var cells: [String] { get }
    static var shrinking: [Int] { get }
}

struct AgentRow: Row, Equatable {
    var id: String
    var name: String?
    var teamID: String?
    var plugins: [String]
    var lastSeenAt: String?

    private enum CodingKeys: String, CodingKey {
        case id, name, plugins
        case teamID = "team_id"
        case lastSeenAt = "last_seen_at"
    }

    /// As people call it.
    var displayName: String { name ?? id }

    static let header = ["NAME", "ID", "TEAM", "PLUGINS", "LAST SEEN"]
    static let shrinking = [0, 1, 2]
    var cells: [String] { [name ?? "", id, teamID ?? "", "\(plugins.count)", lastSeenAt ?? "never"] }
}

struct PluginRow: Row {
    var id: String
    var name: String
    var version: PluginVersion?
    var hash: String
    var commands: Commands

    static let header = ["ID", "NAME", "VERSION", "COMMANDS", "PUBLISHED"]
    static let shrinking = [0, 1, 3]
    var createdAt: String?

    private enum CodingKeys: String, CodingKey {
        case id, name, version, hash, commands
        case createdAt = "created_at"
    }

    /// The names alone; a backend may write an empty map as `[]`.
    struct Commands: Decodable, Sendable {
        var names: [String]

        init(from decoder: any Decoder) throws {
            guard case .object(let fields) = try JSONValue(from: decoder) else {
                names = []
                return
            }
            names = fields.keys.sorted()
        }
    }

    var cells: [String] {
        [id, name, version?.description ?? "", commands.names.joined(separator: " "), createdAt ?? ""]
    }
}

struct TaskRow: Row {
    var id: String
    var agentID: String
    var command: String
    var cron: String?
    var arguments: String?
    var isEnabled: Bool

    private enum CodingKeys: String, CodingKey {
        case id, command, cron, arguments
        case agentID = "agent_id"
        case isEnabled = "enabled"
    }

    static let header = ["ID", "AGENT", "COMMAND", "SCHEDULE", "STATE"]
    static let shrinking = [0, 1, 2]
    var cells: [String] { [id, agentID, command, cron ?? "once", isEnabled ? "enabled" : "disabled"] }
}

struct RunRow: Row {
    // More than a dozen properties: the document's.
    var id: String
    var agentID: String
    var taskID: String
    var runID: String?
    var command: String
    var status: String?
    var data: String?
    var error: RunError?
    var stdout: String?
    var stderr: String?
    var pythonStack: String?
    var startedAt: String?
    var durationMilliseconds: Double?

    private enum CodingKeys: String, CodingKey {
        case id, command, status, data, error, stdout, stderr
        case agentID = "agent_id"
        case taskID = "task_id"
        case runID = "run_id"
        case pythonStack = "python_stack"
        case startedAt = "started_at"
        case durationMilliseconds = "duration_ms"
    }

    /// Of an agent of part 1 only the result is there.
    var isSucceeded: Bool { status == nil || status == RunStatus.succeeded.rawValue }

    static let header = ["ID", "AGENT", "COMMAND", "STATUS", "STARTED", "RESULT"]
    static let shrinking = [0, 1, 2, 5]
    var cells: [String] {
        [id, agentID, command, status ?? "", startedAt ?? "", String((error?.sentence ?? data ?? "").prefix(200))]
    }
}

struct RunningRow: Row {
    var runID: String
    var agentID: String
    var taskID: String
    var command: String
    var startedAt: String

    private enum CodingKeys: String, CodingKey {
        case command
        case runID = "run_id"
        case agentID = "agent_id"
        case taskID = "task_id"
        case startedAt = "started_at"
    }

    static let header = ["RUN", "AGENT", "COMMAND", "STARTED", "TASK"]
    static let shrinking = [1, 2, 4]
    var cells: [String] { [runID, agentID, command, startedAt, taskID] }
}

struct DeviceRow: Row {
    var userCode: String
    var hostName: String?
    var address: String
    var state: String
    var expiresAt: String

    private enum CodingKeys: String, CodingKey {
        case address, state
        case userCode = "user_code"
        case hostName = "host_name"
        case expiresAt = "expires_at"
    }

    static let header = ["CODE", "HOST", "ADDRESS", "STATE", "EXPIRES"]
    static let shrinking = [1]
    var cells: [String] { [userCode, hostName ?? "", address, state, expiresAt] }
}

/// What there is to see of a run that is followed.
struct RunViewDocument: Decodable, Sendable {
    var state: String
    var runID: String?
    var chunks: [OutputChunk]
    var run: RunRow?
    /// The whole of `run`, for `--json`.
    var rawRun: JSONValue?

    private enum CodingKeys: String, CodingKey {
        case state, chunks, run
        case runID = "run_id"
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        state = try container.decode(String.self, forKey: .state)
        runID = try container.decodeIfPresent(String.self, forKey: .runID)
        chunks = try container.decode([OutputChunk].self, forKey: .chunks)
        run = try container.decodeIfPresent(RunRow.self, forKey: .run)
        rawRun = try container.decodeIfPresent(JSONValue.self, forKey: .run)
    }
}
