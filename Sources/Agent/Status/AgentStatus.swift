public import AgentModel
public import Foundation
public import RunJournal

/// What only the running agent knows, as it writes it down for `runbook-agent status`.
///
/// Lists are cut to their first ``listLimit`` entries; the totals count everything.
public struct AgentStatus: Sendable, Equatable {
    /// Entries of each list at most.
    public static let listLimit = 50

    /// Nil where no agent with snapshots has run.
    public var life: Life?
    /// Nil before the first attempt.
    public var contact: Contact?
    public var plugins = Listing<Plugin>()
    public var waiting = Listing<Waiting>()
    public var schedules = Listing<Schedule>()
    /// Runs that wait for their turn.
    public var queued = 0
    /// Nil where an agent without it has run.
    public var executor: Executor?
    /// When the above was last looked at and found changed.
    public var writtenAt: Date?

    public init() {}

    /// One life of the agent.
    public struct Life: Codable, Sendable, Equatable {
        public var version: String
        public var processID: Int32
        public var serverURL: String?
        public var startedAt: Date
        /// Nil while it runs, and for ever where it was killed.
        public var stoppedAt: Date?

        enum CodingKeys: String, CodingKey {
            case version
            case processID = "process_id"
            case serverURL = "server_url"
            case startedAt = "started_at"
            case stoppedAt = "stopped_at"
        }
    }

    /// The last synchronization with the backend.
    public struct Contact: Codable, Sendable, Equatable {
        public var at: Date
        /// The code of what failed; nil where the backend answered.
        public var code: String?
        public var problem: String?
        /// When the backend last answered.
        public var lastSuccess: Date?

        enum CodingKeys: String, CodingKey {
            case at, code, problem
            case lastSuccess = "last_success"
        }
    }

    /// The first entries of a list.
    public struct Listing<Element: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
        public var total = 0
        public var first: [Element] = []

        public init() {}

        init(total: Int, first: some Sequence<Element>) {
            self.total = total
            self.first = Array(first.prefix(listLimit))
        }
    }

    /// A plugin that the backend wants here.
    public struct Plugin: Codable, Sendable, Equatable {
        public enum State: String, Codable, Sendable {
            case loaded
            case loading
            /// It can't run as it is.
            case failed
            /// It could not be fetched yet.
            case unavailable
        }

        public var id: String
        public var name: String?
        public var version: PluginVersion?
        public var state: State
        /// Where its code runs, and what of the sandbox is missing; nil where it isn't loaded.
        public var isolation: String?
        public var code: String?
        public var problem: String?
    }

    /// The threads that run plugins in the agent's process.
    public struct Executor: Codable, Sendable, Equatable {
        /// Calls that may run at the same time.
        public var workers: Int
        /// Who holds the interpreter's lock, where that has gone on for long.
        public var held: Hold?
        /// Calls, loads and shutdowns that have gone on for some seconds, longest first.
        public var uses = Listing<Use>()
    }

    /// A thread that keeps all others from the interpreter.
    public struct Hold: Codable, Sendable, Equatable {
        /// In words.
        public var by: String
        public var plugin: String?
        public var run: String?
        public var thread: String?
        public var since: Date
    }

    /// What a plugin does on a thread, and since when.
    public struct Use: Codable, Sendable, Equatable {
        public var plugin: String
        public var run: String?
        /// `call`, `load` or `shutdown`.
        public var kind: String
        /// `running`, `waiting` (in the kernel) or `not_begun`.
        public var state: String
        public var since: Date
    }

    /// A task that can't run yet.
    public struct Waiting: Codable, Sendable, Equatable {
        public var task: String
        public var command: String
        public var reason: String
    }

    /// A schedule and when it fires next.
    public struct Schedule: Codable, Sendable, Equatable {
        public var task: String
        public var command: String
        public var cron: String
        /// Nil: never again.
        public var next: Date?
    }
}

// MARK: In the journal

extension AgentStatus {
    /// The names of the snapshots.
    private enum Name: String, CaseIterable {
        case agent, backend, plugins, waiting, schedules, queued, executor
    }

    /// What is in the journal. A part that isn't there, or was written by a version that had it otherwise, is left
    /// empty.
    public init(snapshots: [String: JournalSnapshot]) {
        func decoded<Value: Decodable>(_ name: Name, as type: Value.Type = Value.self) -> Value? {
            snapshots[name.rawValue].flatMap { try? Self.decoder.decode(type, from: Data($0.json.utf8)) }
        }
        life = decoded(.agent)
        contact = decoded(.backend)
        plugins = decoded(.plugins) ?? plugins
        waiting = decoded(.waiting) ?? waiting
        schedules = decoded(.schedules) ?? schedules
        queued = decoded(.queued) ?? queued
        executor = decoded(.executor)
        writtenAt = Name.allCases.compactMap { snapshots[$0.rawValue]?.writtenAt }.max()
    }

    /// As JSON texts by name; what is nil is left out.
    func snapshots() throws -> [String: String] {
        func text(_ value: (some Encodable)?) throws -> String? {
            try value.map { String(decoding: try Self.encoder.encode($0), as: UTF8.self) }
        }
        let texts: [(Name, String?)] = [
            (.agent, try text(life)), (.backend, try text(contact)), (.plugins, try text(plugins)),
            (.waiting, try text(waiting)), (.schedules, try text(schedules)), (.queued, try text(queued)),
            (.executor, try text(executor)),
        ]
        return Dictionary(uniqueKeysWithValues: texts.compactMap { name, text in text.map { (name.rawValue, $0) } })
    }

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(RFC3339.string(from: date))
        }
        return encoder
    }

    private static var decoder: JSONDecoder {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            guard let date = RFC3339.date(from: try container.decode(String.self)) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "not RFC 3339")
            }
            return date
        }
        return decoder
    }
}
