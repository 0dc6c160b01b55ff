import Diagnostics
public import Foundation

/// How a run ended (part 2 of the contract).
public enum RunStatus: RawRepresentable, Codable, Hashable, Sendable, CaseIterable {
    /// The method returned.
    case succeeded
    /// The method raised, or what it returned could not be encoded.
    case failed
    /// It was stopped, or given up, at its time limit.
    case timedOut
    /// The plugin took its process down.
    case crashed
    /// The agent ended while it ran.
    case interrupted
    /// It went past its sandbox's memory.
    case outOfMemory
    /// It wrote more than a run may.
    case outputLimit
    /// It was never started: unknown command, wrong arguments, a plugin that isn't loaded.
    case rejected
    /// Somebody had it stopped.
    case cancelled
    /// One that only a newer agent knows, as it is written: up to 64 letters and underscores.
    case other(String)

    /// Those that are known here.
    public static let allCases: [RunStatus] = [
        .succeeded, .failed, .timedOut, .crashed, .interrupted, .outOfMemory, .outputLimit, .rejected, .cancelled,
    ]

    /// Nil where the text is no status of any agent.
    public init?(rawValue: String) {
        if let known = Self.allCases.first(where: { $0.rawValue == rawValue }) {
            self = known
            return
        }
        let isWord = rawValue.utf8.allSatisfy { $0 == UInt8(ascii: "_") || (0x61...0x7A).contains($0 | 0x20) }
        guard isWord, 1...64 ~= rawValue.utf8.count else { return nil }
        self = .other(rawValue)
    }

    public var rawValue: String {
        switch self {
        case .succeeded: "succeeded"
        case .failed: "failed"
        case .timedOut: "timed_out"
        case .crashed: "crashed"
        case .interrupted: "interrupted"
        case .outOfMemory: "out_of_memory"
        case .outputLimit: "output_limit"
        case .rejected: "rejected"
        case .cancelled: "cancelled"
        case .other(let text): text
        }
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let status = RunStatus(rawValue: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "it is no status: a word of letters and underscores")
        }
        self = status
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

/// Why a run did not succeed.
public struct RunError: Codable, Hashable, Sendable {
    /// Stable and dotted, with a row in `docs/errors.md`: `plugin.exception`.
    public var code: String
    /// The Python exception's class, or nil where no exception was raised.
    public var type: String?
    public var message: String
    public var traceback: String?

    public init(code: String, type: String? = nil, message: String, traceback: String? = nil) {
        self.code = code
        self.type = type
        self.message = message
        self.traceback = traceback
    }

    /// The message as people see it: of an exception with its class in front and, where the traceback is there, with its
    /// place behind: `KeyError: 'missing' (line 3, in run)`.
    public var sentence: String {
        guard hasCode(.pluginException), let type else { return message }
        return (message.isEmpty ? type : "\(type): \(message)") + (place.map { " (\($0))" } ?? "")
    }

    /// Where the exception was raised: the last line of the traceback that names a file, without the file.
    private var place: String? {
        let line = traceback?.split(separator: "\n").last { $0.hasPrefix("  File \"") }
        return line?.range(of: "\", line ").map { "line \(line![$0.upperBound...])" }
    }
}

/// The body of `POST /api/agent/task/{TASK_ID}`: `data` is part 1, everything else part 2.
public struct TaskResult: Codable, Equatable, Sendable {
    /// What the method returned, as text; see the contract for `str`, `None` and the rest.
    public var data: String?
    public var runID: String?
    public var status: RunStatus?
    public var error: RunError?
    public var stdout: String?
    public var stderr: String?
    public var startedAt: Date?
    public var finishedAt: Date?
    public var durationMilliseconds: Double?
    /// The fire time this run stands for; nil for a one-off.
    public var scheduledFor: Date?
    /// `in-process` or the sandbox level that was reached.
    public var isolation: String?
    /// Where a run that was stopped was in its code before that, as a traceback says it.
    public var pythonStack: String?
    public var agentVersion: String?

    public init(
        data: String?, runID: String? = nil, status: RunStatus? = nil, error: RunError? = nil, stdout: String? = nil,
        stderr: String? = nil, startedAt: Date? = nil, finishedAt: Date? = nil, durationMilliseconds: Double? = nil,
        scheduledFor: Date? = nil, isolation: String? = nil, pythonStack: String? = nil, agentVersion: String? = nil
    ) {
        self.data = data
        self.runID = runID
        self.status = status
        self.error = error
        self.stdout = stdout
        self.stderr = stderr
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.durationMilliseconds = durationMilliseconds
        self.scheduledFor = scheduledFor
        self.isolation = isolation
        self.pythonStack = pythonStack
        self.agentVersion = agentVersion
    }

    /// Only what part 1 names, for `result_format = minimal`.
    public var minimal: TaskResult { TaskResult(data: data) }

    enum CodingKeys: String, CodingKey {
        case data, status, error, stdout, stderr, isolation
        case runID = "run_id"
        case startedAt = "started_at"
        case finishedAt = "finished_at"
        case durationMilliseconds = "duration_ms"
        case scheduledFor = "scheduled_for"
        case pythonStack = "python_stack"
        case agentVersion = "agent_version"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        data = try container.decodeIfPresent(String.self, forKey: .data)
        runID = try container.decodeIfPresent(String.self, forKey: .runID)
        status = try container.decodeIfPresent(RunStatus.self, forKey: .status)
        error = try container.decodeIfPresent(RunError.self, forKey: .error)
        stdout = try container.decodeIfPresent(String.self, forKey: .stdout)
        stderr = try container.decodeIfPresent(String.self, forKey: .stderr)
        startedAt = try container.decodeTime(forKey: .startedAt)
        finishedAt = try container.decodeTime(forKey: .finishedAt)
        durationMilliseconds = try container.decodeIfPresent(Double.self, forKey: .durationMilliseconds)
        scheduledFor = try container.decodeTime(forKey: .scheduledFor)
        isolation = try container.decodeIfPresent(String.self, forKey: .isolation)
        pythonStack = try container.decodeIfPresent(String.self, forKey: .pythonStack)
        agentVersion = try container.decodeIfPresent(String.self, forKey: .agentVersion)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        // Part 1 wants `data` to be there, null included.
        try container.encode(data, forKey: .data)
        guard let status else { return }
        try container.encodeIfPresent(runID, forKey: .runID)
        try container.encode(status, forKey: .status)
        try container.encode(error, forKey: .error)
        try container.encodeIfPresent(stdout, forKey: .stdout)
        try container.encodeIfPresent(stderr, forKey: .stderr)
        try container.encodeIfPresent(startedAt.map(RFC3339.string(from:)), forKey: .startedAt)
        try container.encodeIfPresent(finishedAt.map(RFC3339.string(from:)), forKey: .finishedAt)
        try container.encodeIfPresent(durationMilliseconds, forKey: .durationMilliseconds)
        try container.encodeIfPresent(scheduledFor.map(RFC3339.string(from:)), forKey: .scheduledFor)
        try container.encodeIfPresent(isolation, forKey: .isolation)
        try container.encodeIfPresent(pythonStack, forKey: .pythonStack)
        try container.encodeIfPresent(agentVersion, forKey: .agentVersion)
    }
}

extension KeyedDecodingContainer {
    /// A time of RFC 3339; nil where there is none.
    func decodeTime(forKey key: Key) throws -> Date? {
        guard let text = try decodeIfPresent(String.self, forKey: key) else { return nil }
        guard let date = RFC3339.date(from: text) else {
            throw DecodingError.dataCorruptedError(forKey: key, in: self, debugDescription: "not RFC 3339")
        }
        return date
    }
}
