import Diagnostics
import Foundation

/// One entry of `GET /api/agent/tasks`: what to run, now or on a schedule.
public struct TaskDocument: Codable, Hashable, Sendable {
    public var id: String
    /// A key of some plugin's `commands`.
    public var command: String
    /// Nil: run once. Otherwise a schedule in croniter's dialect.
    public var cron: String?
    /// The text as the backend wrote it, or that of a bare object, which ``JSONText`` keeps. ``normalizedArguments()`` checks it.
    public var arguments: String

    public init(id: String, command: String, cron: String?, arguments: String = "{}") {
        self.id = id
        self.command = command
        self.cron = cron.flatMap { $0.allSatisfy(\.isWhitespace) ? nil : $0 }
        self.arguments = arguments
    }

    /// Its id as a key.
    public var key: TaskID { TaskID(id) }

    private enum CodingKeys: String, CodingKey {
        case id, command, cron, arguments
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let cron = try container.decodeIfPresent(String.self, forKey: .cron)
        let arguments: String
        // A text nearly always, and what is none costs microseconds to find out.
        if let text = (try? container.decodeIfPresent(String.self, forKey: .arguments)) ?? nil {
            arguments = text
        } else {
            switch try container.decodeIfPresent(JSONValue.self, forKey: .arguments) {
            case nil, .null: arguments = "{}"
            case .string(let text): arguments = text
            case .some(let value): arguments = value.text
            }
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

/// Ids and arguments are what their bytes are: `é` as one scalar and as two are equal for a `String`, and two texts for
/// the backend, the journal and Python.
extension TaskDocument {
    public static func == (left: TaskDocument, right: TaskDocument) -> Bool {
        left.id.hasSameBytes(as: right.id) && left.command.hasSameBytes(as: right.command)
            && left.arguments.hasSameBytes(as: right.arguments)
            && (left.cron ?? "").hasSameBytes(as: right.cron ?? "") && (left.cron == nil) == (right.cron == nil)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(key)
    }
}

/// The whole task list, with the entries that could not be read kept apart so that the others go on.
public struct TaskList: Decodable, Sendable {
    /// An entry that could not be read.
    public struct Unreadable: Equatable, Sendable {
        /// Nil where not even that could be read.
        public var id: String?
        public var command: String?
        public var error: AgentModelError
    }

    public var tasks: [TaskDocument]
    public var unreadable: [Unreadable]

    public init(tasks: [TaskDocument], unreadable: [Unreadable] = []) {
        self.tasks = tasks
        self.unreadable = unreadable
    }

    public init(from decoder: any Decoder) throws {
        var container = try decoder.unkeyedContainer()
        tasks = []
        unreadable = []
        if let count = container.count { tasks.reserveCapacity(count) }
        let depth = container.codingPath.count + 1
        let problems = decoder.userInfo[SelectedJSON.problemsKey] as? [Int: String] ?? [:]
        while !container.isAtEnd {
            let index = container.currentIndex
            if let problem = problems[index] {
                unreadable.append(try Self.unreadable(&container, index) { _ in problem })
                continue
            }
            do {
                tasks.append(try container.decode(TaskDocument.self))
            } catch let error as DecodingError {
                // A failed decode leaves the container where it was.
                unreadable.append(
                    try Self.unreadable(&container, index) { hasID in
                        hasID ? error.sentence(below: depth) : error.sentence
                    })
            }
        }
    }

    private static func unreadable(
        _ container: inout any UnkeyedDecodingContainer, _ index: Int, _ problem: (_ hasID: Bool) -> String
    ) throws -> Unreadable {
        let entry = try container.decode(UnreadableEntry.self)
        let error: AgentModelError =
            if let id = entry.id {
                .invalidTask(id: id, problem: problem(true))
            } else {
                .invalidField(document: "tasks", path: "data[\(index)]", problem: problem(false))
            }
        return Unreadable(id: entry.id, command: entry.command, error: error)
    }

    /// What is read of the answer of `GET /api/agent/tasks`, up to so many tasks.
    public static func selection(limit: Int) -> JSONSelection {
        let task = JSONSelection.object(["id": .scalar, "command": .scalar, "cron": .scalar, "arguments": .text])
        return .object(["data": .list(task, limit: limit)])
    }

    /// What can be read of an entry that can't be read as a whole. Takes any JSON.
    private struct UnreadableEntry: Decodable {
        var id: String?
        var command: String?

        private enum CodingKeys: String, CodingKey {
            case id, command
        }

        init(from decoder: any Decoder) throws {
            guard let container = try? decoder.container(keyedBy: CodingKeys.self) else { return }
            id = try? container.decodeIfPresent(String.self, forKey: .id)
            command = try? container.decodeIfPresent(String.self, forKey: .command)
        }
    }
}
