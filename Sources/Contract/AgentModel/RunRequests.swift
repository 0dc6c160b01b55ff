/// What the backend wants of runs that are under way or about to begin (part 2 of the contract, "A run in progress").
public struct RunRequests: Equatable, Sendable {
    /// Which run is meant.
    public enum Target: Hashable, Sendable {
        /// A run under the agent's own id.
        case run(String)
        /// The one run of a one-off task. A question for its stack may also mean a schedule's run that is under way.
        case task(String)
    }

    /// A run that is to be stopped.
    public struct Cancel: Equatable, Sendable {
        public var target: Target
        /// Who wants that, and why, as far as the backend says so.
        public var by: String?
        public var reason: String?

        public init(_ target: Target, by: String? = nil, reason: String? = nil) {
            self.target = target
            self.by = by
            self.reason = reason
        }
    }

    /// A question where a run is in its code, to be answered once.
    public struct Stack: Equatable, Sendable {
        /// The question's own id, which its answer names.
        public var id: String
        public var target: Target

        public init(id: String, _ target: Target) {
            self.id = id
            self.target = target
        }
    }

    /// Runs whose output is wanted while they run, by their own ids or those of their tasks.
    public var watch: Set<String>
    public var cancel: [Cancel]
    public var stacks: [Stack]

    public static let none = RunRequests()

    public init(watch: Set<String> = [], cancel: [Cancel] = [], stacks: [Stack] = []) {
        self.watch = watch
        self.cancel = cancel
        self.stacks = stacks
    }
}

/// By `run_id` or by `task_id`, beside other fields.
extension RunRequests.Target: Codable {
    private enum CodingKeys: String, CodingKey {
        case runID = "run_id"
        case taskID = "task_id"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        if let id = try container.decodeIfPresent(String.self, forKey: .runID) {
            self = .run(id)
        } else {
            self = .task(try container.decode(String.self, forKey: .taskID))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .run(let id): try container.encode(id, forKey: .runID)
        case .task(let id): try container.encode(id, forKey: .taskID)
        }
    }
}

extension RunRequests.Stack: Codable {
    private enum CodingKeys: String, CodingKey {
        case id
    }

    public init(from decoder: any Decoder) throws {
        id = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .id)
        target = try RunRequests.Target(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try target.encode(to: encoder)
    }
}

extension RunRequests.Cancel: Codable {
    private enum CodingKeys: String, CodingKey {
        case by, reason
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        target = try RunRequests.Target(from: decoder)
        by = try? container.decodeIfPresent(String.self, forKey: .by)
        reason = try? container.decodeIfPresent(String.self, forKey: .reason)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try target.encode(to: encoder)
        try container.encodeIfPresent(by, forKey: .by)
        try container.encodeIfPresent(reason, forKey: .reason)
    }
}

/// The whole answer of `GET /api/agent/tasks`.
public struct TasksAnswer: Decodable, Sendable {
    /// Nil where the list is as it was: the answer is about runs alone.
    public var list: TaskList?
    public var requests: RunRequests

    private enum CodingKeys: String, CodingKey {
        case data, unchanged, watch, cancel, stack
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let isUnchanged = (try? container.decodeIfPresent(Bool.self, forKey: .unchanged)) ?? false
        // A backend of part 1 may mean something else by that word, and sends its list.
        list = isUnchanged && !container.contains(.data) ? nil : try container.decode(TaskList.self, forKey: .data)
        // What can't be read here stands in no task's way.
        requests = RunRequests(
            watch: Set(
                ((try? container.decodeIfPresent([Readable<String>].self, forKey: .watch)) ?? []).compactMap(\.value)),
            cancel: ((try? container.decodeIfPresent([Readable<RunRequests.Cancel>].self, forKey: .cancel)) ?? [])
                .compactMap(\.value),
            stacks: ((try? container.decodeIfPresent([Readable<RunRequests.Stack>].self, forKey: .stack)) ?? [])
                .compactMap(\.value))
    }

    /// What is read of the answer, with up to so many tasks.
    public static func selection(limit: Int) -> JSONSelection {
        guard case .object(var fields) = TaskList.selection(limit: limit) else {
            return TaskList.selection(limit: limit)
        }
        fields["unchanged"] = .scalar
        fields["watch"] = .value(byteLimit: requestsLimit)
        fields["cancel"] = .value(byteLimit: requestsLimit)
        fields["stack"] = .value(byteLimit: requestsLimit)
        return .object(fields)
    }

    /// More than our backend ever lists: 10,000 cancels, each with who and why.
    private static let requestsLimit = 8 << 20

    /// An element that may not be what is wanted.
    private struct Readable<Value: Decodable>: Decodable {
        var value: Value?

        init(from decoder: any Decoder) throws { value = try? Value(from: decoder) }
    }
}
