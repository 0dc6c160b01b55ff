import Foundation

/// One entry of `GET /api/agent/tasks`: what to run, now or on a schedule.
public struct TaskDocument: Codable, Hashable, Sendable {
    public var id: String
    /// A key of some plugin's `commands`.
    public var command: String
    /// Nil: run once. Otherwise a schedule in croniter's dialect.
    public var cron: String?
    /// The text as the backend wrote it, or the compact JSON of a bare object. ``normalizedArguments()`` checks it.
    public var arguments: String

    public init(id: String, command: String, cron: String?, arguments: String = "{}") {
        self.id = id
        self.command = command
        self.cron = cron.flatMap { $0.allSatisfy(\.isWhitespace) ? nil : $0 }
        self.arguments = arguments
    }

    private enum CodingKeys: String, CodingKey {
        case id, command, cron, arguments
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let cron = try container.decodeIfPresent(String.self, forKey: .cron)
        let arguments: String
        switch try container.decodeIfPresent(JSONValue.self, forKey: .arguments) {
        case nil, .null: arguments = "{}"
        case .string(let text): arguments = text
        case .some(let value): arguments = value.text
        }
        self.init(
            id: try container.decode(String.self, forKey: .id),
            command: try container.decode(String.self, forKey: .command), cron: cron, arguments: arguments)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(command, forKey: .command)
        try container.encode(cron, forKey: .cron)
        try container.encode(arguments, forKey: .arguments)
    }

    /// The arguments as the JSON text of an object, with the contract's ways of saying "none" made `{}`.
    ///
    /// Only the outermost shape is looked at here: the interpreter parses the rest, and keeps big integers.
    /// - Throws: `AgentModelError.invalidArguments` when the text is plainly not an object.
    public func normalizedArguments() throws(AgentModelError) -> String {
        let trimmed = arguments.utf8.drop(while: Self.isJSONWhitespace)
        guard let first = trimmed.first else { return "{}" }
        if first == UInt8(ascii: "{") { return arguments }
        if first == UInt8(ascii: "["),
            trimmed.filter({ !Self.isJSONWhitespace($0) }).elementsEqual("[]".utf8)
        {
            return "{}"
        }
        throw .invalidArguments(problem: "they begin with \(quoted(String(arguments.prefix(20))))")
    }

    private static func isJSONWhitespace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }
}

/// The whole task list, with the entries that could not be read kept apart so that the others go on.
public struct TaskList: Decodable, Sendable {
    public var tasks: [TaskDocument]
    public var problems: [AgentModelError]

    public init(tasks: [TaskDocument], problems: [AgentModelError] = []) {
        self.tasks = tasks
        self.problems = problems
    }

    public init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        tasks = []
        problems = []
        if let count = container.count { tasks.reserveCapacity(count) }
        while !container.isAtEnd {
            let index = container.currentIndex
            do {
                tasks.append(try container.decode(TaskDocument.self))
            } catch let error as DecodingError {
                problems.append(.invalidField(document: "tasks", path: "data[\(index)]", problem: "\(error.sentence)"))
                // A failed decode leaves the container where it was.
                _ = try container.decode(JSONValue.self)
            }
        }
    }
}

extension DecodingError {
    /// What is wrong and where, in words fit for a log line: `"command" is missing`.
    public var sentence: String {
        switch self {
        case .keyNotFound(let key, let context):
            "\(quoted(Self.path(context.codingPath + [key]))) is missing"
        case .valueNotFound(let type, let context):
            "\(quoted(Self.path(context.codingPath))) is null where a \(type) is needed"
        case .typeMismatch(let type, let context):
            "\(quoted(Self.path(context.codingPath))) is not a \(type)"
        case .dataCorrupted(let context):
            context.codingPath.isEmpty
                ? "the text is not valid JSON"
                : "\(quoted(Self.path(context.codingPath))): \(context.debugDescription)"
        @unknown default: "it could not be decoded"
        }
    }

    private static func path(_ codingPath: [any CodingKey]) -> String {
        codingPath.reduce(into: "") { text, key in
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += (text.isEmpty ? "" : ".") + key.stringValue
            }
        }
    }
}
