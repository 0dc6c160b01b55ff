import Agent
import AgentModel
import DeviceAuthorization
import Foundation
import PluginExecution
import RunJournal

/// Everything that `status` shows, as its JSON has it.
struct StatusReport: Encodable {
    // More than a dozen properties: one for each part of the report.
    /// What is wrong, the worst first.
    var problems: [StatusProblem] = []
    let agent: AgentState
    let login: Login
    /// Nil before the first attempt.
    let backend: AgentStatus.Contact?
    let plugins: AgentStatus.Listing<AgentStatus.Plugin>
    /// Runs that wait for their turn.
    let queued: Int
    let waiting: AgentStatus.Listing<AgentStatus.Waiting>
    let schedules: AgentStatus.Listing<AgentStatus.Schedule>
    let running: Running
    var outbox: Outbox
    /// When the agent last wrote down what only it knows; nil where it never did.
    let recordedAt: Date?
    let now: Date
    /// Plugins whose code took the agent down again and again: they aren't run any more.
    var quarantine: [Quarantined] = []
    /// Ends of the agent in the last day, the oldest first.
    var ends: [AgentStatus.End] = []
    /// What is odd about the sections of plugins in the configuration.
    var notices: [AgentStatus.Notice] = []
    /// Nil where no agent runs, or it doesn't say.
    var executor: AgentStatus.ExecutorState?
    /// Plugins of which calls could not be stopped since the agent was started.
    var stuckPlugins: [String] = []
    /// Programs that runs have left in the agent's own process when they returned, as far as this user may see them.
    var leftPrograms = 0

    enum CodingKeys: String, CodingKey {
        case problems, agent, login, backend, plugins, queued, waiting, schedules, running, outbox, now, quarantine
        case ends, notices, executor
        case stuckPlugins = "stuck_plugins"
        case leftPrograms = "left_programs"
        case recordedAt = "recorded_at"
    }

    struct AgentState: Encodable {
        enum State: String, Encodable {
            case running
            /// It ended by itself.
            case stopped
            /// It was killed, or crashed.
            case died
            /// No agent has run on this state directory yet.
            case neverRan = "never ran"
        }

        let state: State
        /// Of the agent that runs.
        let processID: Int32?
        let version: String?
        let serverURL: String?
        let startedAt: Date?
        let stoppedAt: Date?
        /// Why it ended by itself without having been told to.
        let failure: AgentStatus.Failure?
        /// Whether it was to end by itself (`run --once`).
        let isOnce: Bool
        /// Its process was stopped by a signal: it runs, and does nothing.
        let isSuspended: Bool
        /// How the backend knows it.
        let id: String?
        let name: String?
        let stateDirectory: String

        enum CodingKeys: String, CodingKey {
            case state, version, failure, id, name
            case isOnce = "once"
            case isSuspended = "suspended"
            case processID = "process_id"
            case serverURL = "server_url"
            case startedAt = "started_at"
            case stoppedAt = "stopped_at"
            case stateDirectory = "state_directory"
        }
    }

    /// What is stored of the login.
    struct Login: Encodable {
        static let notUsed = "not used"

        var state = notUsed
        var since: Date?
        /// Of the access token, which is renewed before.
        var expiresAt: Date?
        var verificationURI: String?
        var userCode: String?
        var codeExpiresAt: Date?
        /// How long a login is tried that the backend doesn't know any more.
        var setAsideUntil: Date?
        /// Of the backend that answers, where it is not that of the login.
        var otherBackendID: String?
        var code: String?
        var problem: String?

        enum CodingKeys: String, CodingKey {
            case state, since, code, problem
            case expiresAt = "expires_at"
            case verificationURI = "verification_uri"
            case userCode = "user_code"
            case codeExpiresAt = "code_expires_at"
            case setAsideUntil = "tried_until"
            case otherBackendID = "other_backend_id"
        }

        /// - Parameter login: nil with `auth = False`.
        init(_ login: LoginState?) {
            guard let login else { return }
            state = login.kind.rawValue
            since = login.since
            expiresAt = login.expiresAt
            verificationURI = login.pending?.verificationURI
            userCode = login.pending?.userCode
            codeExpiresAt = login.pending?.expiresAt
            setAsideUntil = login.setAsideUntil
            otherBackendID = login.otherBackendID
            code = login.problem?.code
            problem = login.problem?.message
        }
    }

    /// Runs that have begun and not ended. Where no agent runs they were cut off, which the next one reports.
    struct Running: Encodable {
        let total: Int
        let first: [Run]
    }

    struct Run: Encodable {
        let run: String
        let task: String
        let command: String
        let plugin: String?
        let startedAt: Date
        let seconds: Double

        enum CodingKeys: String, CodingKey {
            case run = "run_id"
            case task = "task_id"
            case command, plugin, seconds
            case startedAt = "started_at"
        }

        init(_ record: RunRecord, now: Date) {
            run = record.runID.rawValue
            task = record.taskID
            command = record.start.command
            plugin = record.start.pluginID
            startedAt = record.start.startedAt
            seconds = max(0, now.timeIntervalSince(record.start.startedAt))
        }
    }

    struct Outbox: Encodable {
        let pending: Int
        let deadLetters: Int
        let bytes: Int
        /// Of the pending ones.
        let oldest: Date?
        let oldestSeconds: Double?
        /// Bytes past which nothing new is run (`outbox_limit`).
        var limit: Int?

        enum CodingKeys: String, CodingKey {
            case pending, bytes, oldest, limit
            case deadLetters = "dead_letters"
            case oldestSeconds = "oldest_seconds"
        }
    }

    struct Quarantined: Encodable {
        let plugin: String
        /// In a row.
        let crashes: Int
        let lastCrash: Date
        let cause: String

        enum CodingKeys: String, CodingKey {
            case plugin, crashes, cause
            case lastCrash = "last_crash"
        }

        init(_ crashes: PluginCrashes) {
            plugin = crashes.pluginID
            self.crashes = crashes.count
            lastCrash = crashes.lastCrash
            cause = crashes.cause
        }
    }

    /// - Throws: `RunJournalError`.
    static func read(directory: String, login: LoginState?) async throws(RunJournalError) -> StatusReport {
        do throws(RunJournalError) {
            return try await readJournal(directory: directory, login: login)
        } catch {
            // There may be a login before the agent has run for the first time.
            guard case .missing = error, let login, LoginState.exists(directory: directory) else { throw error }
            return neverRan(directory, login: login)
        }
    }

    private static func neverRan(_ directory: String, login: LoginState) -> StatusReport {
        StatusReport(
            agent: AgentState(
                state: .neverRan, processID: nil, version: nil, serverURL: nil, startedAt: nil, stoppedAt: nil,
                failure: nil, isOnce: false, isSuspended: false, id: nil, name: nil, stateDirectory: directory),
            login: Login(login), backend: nil, plugins: AgentStatus.Listing(), queued: 0,
            waiting: AgentStatus.Listing(), schedules: AgentStatus.Listing(), running: Running(total: 0, first: []),
            outbox: Outbox(pending: 0, deadLetters: 0, bytes: 0, oldest: nil, oldestSeconds: nil), recordedAt: nil,
            now: Date())
    }

    private static func readJournal(
        directory: String, login: LoginState?
    ) async throws(RunJournalError) -> StatusReport {
        let reader = try await RunJournal.openReadOnly(directory: directory)
        let holder = try RunJournal.holder(of: directory)
        let status = AgentStatus(snapshots: try await reader.snapshots())
        let running = try await reader.running()
        let counts = try await reader.counts()
        let now = Date()
        let agent = AgentState(holder: holder, status: status, directory: directory)
        var stuck: Set<String> = []
        if agent.state == .running, let start = agent.startedAt {
            let rejected = try await reader.history(HistoryFilter(status: .rejected), limit: 200)
            stuck = Set(
                rejected.filter { $0.error?.hasCode(.pluginStuck) == true && $0.start.startedAt >= start }
                    .compactMap(\.start.pluginID))
        }
        var leftPrograms = 0
        if agent.state == .running, let process = agent.processID {
            let present = Set(running.map(\.runID.rawValue))
            leftPrograms = ProgramEnd.runs(withProgramsOfAgent: process).count { !present.contains($0) }
        }
        return StatusReport(
            agent: agent, login: Login(login),
            backend: status.contact, plugins: status.plugins, queued: status.queued, waiting: status.waiting,
            schedules: status.schedules,
            running: Running(
                total: running.count, first: running.prefix(AgentStatus.listLimit).map { Run($0, now: now) }),
            outbox: Outbox(
                pending: counts.pending, deadLetters: counts.deadLetters, bytes: counts.outboxBytes,
                oldest: counts.oldestPending,
                oldestSeconds: counts.oldestPending.map { max(0, now.timeIntervalSince($0)) }),
            recordedAt: status.writtenAt, now: now,
            quarantine: try await reader.pluginCrashes().values.filter(\.isQuarantined)
                .sorted { $0.pluginID < $1.pluginID }.map(Quarantined.init),
            ends: status.ends, notices: status.notices,
            executor: agent.state == .running ? status.executor : nil, stuckPlugins: stuck.sorted(),
            leftPrograms: leftPrograms)
    }
}

extension StatusReport.AgentState {
    fileprivate init(holder: DirectoryHolder, status: AgentStatus, directory: String) {
        var life = status.life
        switch holder {
        case .running(let process):
            // One that has only just started may not have written of itself yet.
            if let process, life?.processID != process { life = nil }
            life?.stoppedAt = nil
            life?.failure = nil
            state = .running
            processID = process
            isSuspended = process.map(StatusProbe.isStopped) ?? false
        case .nobody:
            state = life?.stoppedAt == nil ? .died : .stopped
            processID = nil
            isSuspended = false
        }
        id = status.identity?.id
        name = status.identity?.name
        failure = life?.failure
        isOnce = life?.isOnce ?? false
        version = life?.version
        serverURL = life?.serverURL
        startedAt = life?.startedAt
        stoppedAt = life?.stoppedAt
        stateDirectory = directory
    }
}
