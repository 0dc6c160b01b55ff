public import AgentModel
import Diagnostics
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
    /// How the backend knows this agent; nil before its first answer.
    public var identity: Identity?
    /// What is wrong with the sections of plugins in the configuration.
    public var notices: [Notice] = []
    /// The names of plugins that have a section by their id, by id: what an older version of a plugin was called.
    public var sectionNames: [String: String] = [:]
    /// The ends of the agent in the last day, the oldest first.
    public var ends: [End] = []
    /// Who holds the interpreter and the workers; nil where that isn't known.
    public var executor: ExecutorState?
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
        /// Why it ended by itself without having been told to.
        public var failure: Failure?
        /// Whether it was to end by itself (`run --once`).
        public var isOnce: Bool?
        /// The host's, of this boot (random(4)).
        public var bootID: String?

        enum CodingKeys: String, CodingKey {
            case version
            case processID = "process_id"
            case serverURL = "server_url"
            case startedAt = "started_at"
            case stoppedAt = "stopped_at"
            case failure
            case isOnce = "once"
            case bootID = "boot_id"
        }
    }

    /// Why the agent's process ended.
    public struct Failure: Codable, Sendable, Equatable {
        /// A code of `docs/errors.md`; nil where the process was ended from outside.
        public var code: String?
        /// A sentence without a subject, such as `the plugin "p" took it down by the signal SIGSEGV`.
        public var reason: String
        /// Whose code it was, where that is known.
        public var plugin: String?
        public var run: String?

        enum CodingKeys: String, CodingKey {
            case code, reason, plugin
            case run = "run_id"
        }

        public init(code: String?, reason: String, plugin: String? = nil, run: String? = nil) {
            self.code = code
            self.reason = reason
            self.plugin = plugin
            self.run = run
        }
    }

    /// One end of the agent, as the agent after it saw it.
    public struct End: Codable, Sendable, Equatable {
        /// When it ended, where it wrote that down, and otherwise when the next one started.
        public var at: Date
        /// Nil where it was told to stop.
        public var failure: Failure?
    }

    /// How the backend knows this agent.
    public struct Identity: Codable, Sendable, Equatable {
        public var id: String
        public var name: String?

        public init(id: String, name: String?) {
            self.id = id
            self.name = name
        }
    }

    /// Something that a person should know of the configuration.
    public struct Notice: Codable, Sendable, Equatable {
        public var code: String
        public var message: String
        /// Whether a plugin has less protection than was meant.
        public var isProblem: Bool

        enum CodingKeys: String, CodingKey {
            case code, message
            case isProblem = "problem"
        }
    }

    /// Who holds the interpreter, and the threads that calls run on.
    public struct ExecutorState: Codable, Sendable, Equatable {
        /// Calls that may run at the same time.
        public var workers: Int
        /// Nil while every thread gets the interpreter in its turn.
        public var hold: Hold?
        /// The longest first.
        public var uses: [Use]

        public init(workers: Int, hold: Hold?, uses: [Use]) {
            self.workers = workers
            self.hold = hold
            self.uses = Array(uses.prefix(listLimit))
        }
    }

    /// A thread that has held the interpreter for longer than is usual: nothing else runs in-process meanwhile.
    public struct Hold: Codable, Sendable, Equatable {
        /// Such as `the plugin "p"`.
        public var holder: String
        public var plugin: String?
        public var run: String?
        public var since: Date

        enum CodingKeys: String, CodingKey {
            case holder, plugin, since
            case run = "run_id"
        }

        public init(holder: String, plugin: String?, run: String?, since: Date) {
            self.holder = holder
            self.plugin = plugin
            self.run = run
            self.since = since
        }
    }

    /// A call, a load or a shutdown that holds a worker.
    public struct Use: Codable, Sendable, Equatable {
        public var plugin: String
        public var run: String?
        /// `call`, `load` or `shutdown`.
        public var kind: String
        /// `running`, `waiting` (in the kernel) or `not_begun` (for the interpreter).
        public var state: String
        public var since: Date

        enum CodingKeys: String, CodingKey {
            case plugin, kind, state, since
            case run = "run_id"
        }

        public init(plugin: String, run: String?, kind: String, state: String, since: Date) {
            self.plugin = plugin
            self.run = run
            self.kind = kind
            self.state = state
            self.since = since
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

    /// A task that can't run yet.
    public struct Waiting: Codable, Sendable, Equatable {
        public var task: String
        public var command: String
        public var reason: String

        enum CodingKeys: String, CodingKey {
            case task = "task_id"
            case command, reason
        }
    }

    /// A schedule and when it fires next.
    public struct Schedule: Codable, Sendable, Equatable {
        public var task: String
        public var command: String
        public var cron: String
        /// Nil: never again.
        public var next: Date?

        enum CodingKeys: String, CodingKey {
            case task = "task_id"
            case command, cron, next
        }
    }
}

// MARK: In the journal

extension AgentStatus {
    /// The names of the snapshots.
    private enum Name: String, CaseIterable {
        case agent, backend, plugins, waiting, schedules, queued, identity, notices, ends, executor
        case sectionNames = "section_names"
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
        identity = decoded(.identity)
        notices = decoded(.notices) ?? notices
        sectionNames = decoded(.sectionNames) ?? sectionNames
        ends = decoded(.ends) ?? ends
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
            (.identity, try text(identity)), (.notices, try text(notices)),
            (.sectionNames, try text(sectionNames)), (.ends, try text(ends)), (.executor, try text(executor)),
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
