public import AgentModel
public import BackendClient
import Diagnostics
import Foundation
import Glibc
public import Logging
public import PluginExecution
import PluginStore
public import RunJournal
public import ServiceLifecycle

/// Writes down what only the running agent knows, for those who look at it through the journal.
///
/// At most once a second, and only what has changed since.
public actor StatusRecorder: Service {
    /// What is looked at.
    public struct Dependencies: Sendable {
        public var journal: RunJournal
        public var catalog: PluginCatalog
        public var dispatcher: Dispatcher
        public var scheduler: Scheduler
        public var clock: any WallClock
        /// What confines a loaded plugin.
        public var isolation: @Sendable (PluginID) -> String
        /// Who holds a thread of the executor.
        public var use: @Sendable () -> ExecutorUse
        /// The configuration now, and the names of the plugins whose document has come.
        public var configuration: @Sendable () -> (AgentConfiguration, names: [PluginID: String])
        /// How a plugin's code ended the last agent's process.
        public var lastDeath: ProcessDeath?

        public init(
            journal: RunJournal, catalog: PluginCatalog, dispatcher: Dispatcher, scheduler: Scheduler,
            clock: any WallClock, isolation: @escaping @Sendable (PluginID) -> String,
            use: @escaping @Sendable () -> ExecutorUse = { ExecutorUse(workers: 0) },
            configuration: @escaping @Sendable () -> (AgentConfiguration, names: [PluginID: String]),
            lastDeath: ProcessDeath? = nil
        ) {
            self.use = use
            self.isolation = isolation
            self.configuration = configuration
            self.lastDeath = lastDeath
            self.journal = journal
            self.catalog = catalog
            self.dispatcher = dispatcher
            self.scheduler = scheduler
            self.clock = clock
        }
    }

    /// Tells the recorder that there may be something new. It is made before the parts whose changes it carries.
    public struct Trigger: Sendable {
        let alarm = Alarm()

        public init() {}

        public func callAsFunction() { alarm.ring() }
    }

    /// Seconds from which on a use of a thread is written down.
    private static let longUse = 3.0

    private let dependencies: Dependencies
    private let trigger: Trigger
    private let logger: Logger
    private var life: AgentStatus.Life
    private var contact: AgentStatus.Contact?
    private var identity: AgentStatus.Identity?
    /// What earlier agents wrote down; nil before it was read.
    private var past: Past?
    /// What the log has said of the configuration.
    private var saidNotices: Set<String> = []
    /// As it is in the journal.
    private var written: [String: String] = [:]
    private var hasFailed = false

    /// What is kept of earlier agents.
    private struct Past {
        var contact: AgentStatus.Contact?
        var identity: AgentStatus.Identity?
        var sectionNames: [String: String]
        var ends: [AgentStatus.End]
    }

    private static let pause = Duration.seconds(1)
    private static let endsKept: TimeInterval = 86_400
    /// Bounds what one sentence takes, in Unicode scalars.
    private static let textLimit = 500

    public init(dependencies: Dependencies, trigger: Trigger, serverURL: String?, logger: Logger) {
        self.dependencies = dependencies
        self.trigger = trigger
        self.logger = logger
        life = AgentStatus.Life(
            version: AgentVersion.current, processID: getpid(), serverURL: serverURL, startedAt: dependencies.clock.now,
            bootID: CallTrace.bootID)
    }

    /// This agent is to end by itself.
    public func isOnce() { life.isOnce = true }

    /// The backend said who this agent is.
    public func identified(_ document: AgentDocument) {
        identity = AgentStatus.Identity(id: Self.cut(document.id), name: document.name.map(Self.cut))
        trigger()
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                let isSettled = await self.record()
                if isSettled { await self.trigger.alarm.wait() }
                try? await Task.sleep(for: Self.pause)
            }
        }
    }

    /// A synchronization has ended.
    /// - Parameter error: nil where the backend answered.
    public func contacted(_ error: BackendError?) async {
        let now = dependencies.clock.now
        let before = if let contact { contact } else { await thePast()?.contact }
        contact = AgentStatus.Contact(
            at: now, code: error?.code, problem: error.map { Self.cut($0.message) },
            lastSuccess: error == nil ? now : before?.lastSuccess)
        trigger()
    }

    /// Writes down that the agent ends by itself.
    /// - Parameter failure: nil where it was told to.
    public func stopped(_ failure: AgentStatus.Failure? = nil) async {
        life.stoppedAt = dependencies.clock.now
        life.failure = failure
        await record()
    }

    /// Writes down that the agent ends because a plugin holds the interpreter.
    func stoppedByWedge() async {
        let hold = dependencies.use().hold
        await stopped(
            AgentStatus.Failure(
                code: "python.wedged",
                reason:
                    "\(hold?.holder ?? "a plugin") held the interpreter's lock past every limit, and the agent ended "
                    + "its process to be started again", plugin: hold?.plugin?.rawValue, run: hold?.runID))
    }

    /// Looks at everything and writes down what has changed.
    /// - Returns: whether nothing will change without a trigger.
    @discardableResult
    public func record() async -> Bool {
        let (status, isSettled) = await look()
        do {
            let snapshots = try status.snapshots()
            let changed = snapshots.filter { written[$0.key] != $0.value }
            if !changed.isEmpty {
                try await dependencies.journal.keep(snapshots: changed, at: dependencies.clock.now)
                written.merge(changed) { $1 }
            }
            hasFailed = false
        } catch {
            // Once, because nothing but the status suffers from it and a full disk is said by every run.
            let coded = error as? any CodedError
            logger.log(
                level: hasFailed ? .debug : .warning,
                "could not save the status: \(coded?.message ?? "\(error)")",
                metadata: ["code": "\(coded?.code ?? "journal.io")"])
            hasFailed = true
        }
        return isSettled
    }

    /// How everything is, and whether nothing of it will change without a trigger.
    private func look() async -> (AgentStatus, isSettled: Bool) {
        var status = AgentStatus()
        status.life = life
        status.contact = contact
        let past = await thePast()
        status.identity = identity ?? past?.identity
        let oldest = dependencies.clock.now.addingTimeInterval(-Self.endsKept)
        status.ends = (past?.ends ?? []).filter { $0.at >= oldest }.suffix(AgentStatus.listLimit)
        let plugins = await dependencies.catalog.plugins
        status.plugins = AgentStatus.Listing(
            total: plugins.count,
            first: plugins.sorted { $0.key < $1.key }.prefix(AgentStatus.listLimit).map(plugin))
        review(plugins, past, &status)
        let queue = await dependencies.dispatcher.queueState(limit: AgentStatus.listLimit)
        status.queued = queue.queued
        let use = dependencies.use()
        status.executor = executor(use)
        var waiting: [AgentStatus.Waiting] = []
        // The queue empties without a word, and what a plugin has come for leaves those that wait a moment later.
        var isSettled = queue.queued == 0 && use.uses.isEmpty && use.hold == nil
        for run in queue.waiting {
            guard case .wait(let reason, _) = await dependencies.catalog.resolve(run.task.command) else {
                isSettled = false
                continue
            }
            waiting.append(
                AgentStatus.Waiting(task: run.task.id, command: Self.cut(run.task.command), reason: Self.cut(reason)))
        }
        status.waiting = AgentStatus.Listing(total: queue.waitingCount, first: waiting)
        let (total, entries) = await dependencies.scheduler.firstEntries(AgentStatus.listLimit)
        status.schedules = AgentStatus.Listing(
            total: total,
            first: entries.map { entry in
                AgentStatus.Schedule(
                    task: entry.task.id, command: Self.cut(entry.task.command), cron: Self.cut(entry.task.cron ?? ""),
                    next: entry.next)
            })
        return (status, isSettled)
    }

    /// What has gone on for some seconds: the rest is over before anyone reads of it.
    private func executor(_ use: ExecutorUse) -> AgentStatus.ExecutorState {
        AgentStatus.ExecutorState(
            workers: use.workers,
            hold: use.hold.map { hold in
                AgentStatus.Hold(
                    holder: Self.cut(hold.holder), plugin: hold.plugin?.rawValue, run: hold.runID,
                    since: wholeSecond(hold.since))
            },
            uses: use.uses.filter { $0.since.timeIntervalSinceNow < -Self.longUse }.map { use in
                AgentStatus.Use(
                    plugin: use.plugin.rawValue, run: use.runID, kind: use.kind.rawValue, state: use.state.rawValue,
                    since: wholeSecond(use.since))
            })
    }

    /// It is reckoned anew each time from another clock, and is not to look changed.
    private func wholeSecond(_ date: Date) -> Date {
        Date(timeIntervalSince1970: date.timeIntervalSince1970.rounded())
    }

    private func plugin(_ id: PluginID, _ state: PluginCatalog.State) -> AgentStatus.Plugin {
        switch state {
        case .loaded(let plugin):
            AgentStatus.Plugin(
                id: id.rawValue, name: Self.cut(plugin.document.name), version: plugin.document.version, state: .loaded,
                isolation: dependencies.isolation(id))
        case .loading: AgentStatus.Plugin(id: id.rawValue, state: .loading)
        case .failed(let error, _):
            AgentStatus.Plugin(id: id.rawValue, state: .failed, code: error.code, problem: Self.cut(error.message))
        case .unavailable(let reason):
            AgentStatus.Plugin(id: id.rawValue, state: .unavailable, problem: Self.cut(reason))
        }
    }

    private static func cut(_ text: String) -> String {
        var kept = String.UnicodeScalarView(text.unicodeScalars.prefix(textLimit))
        if kept.count < text.unicodeScalars.count { kept.append("…") }
        return String(kept)
    }

    /// Compares the sections of plugins with the plugins that there are.
    private func review(
        _ plugins: [PluginID: PluginCatalog.State], _ past: Past?, _ status: inout AgentStatus
    ) {
        let (configuration, names) = dependencies.configuration()
        status.sectionNames = configuration.sectionNames(names, before: past?.sectionNames ?? [:])
        // Before the backend has said which plugins there are nothing can be said of them.
        guard contact?.lastSuccess != nil else { return }
        let listed = Dictionary(uniqueKeysWithValues: plugins.keys.map { ($0, names[$0]) })
        status.notices = configuration.reviewSections(
            listed: listed, earlierNames: status.sectionNames
        ).prefix(AgentStatus.listLimit).map {
            AgentStatus.Notice(code: $0.code, message: Self.cut($0.message), isProblem: $0.isProblem)
        }
        for notice in status.notices where saidNotices.insert(notice.message).inserted {
            logger.warning("\(notice.message)", metadata: ["code": "\(notice.code)"])
        }
        saidNotices.formIntersection(status.notices.map(\.message))
    }

    /// What the agents before this one wrote down, and how the last of them ended; nil where it can't be read now.
    private func thePast() async -> Past? {
        if let past { return past }
        guard let snapshots = try? await dependencies.journal.reader.snapshots() else { return nil }
        // Another call may have read it meanwhile.
        if let past { return past }
        let status = AgentStatus(snapshots: snapshots)
        let end = AgentStatus.End(
            last: status.life, death: dependencies.lastDeath, bootID: life.bootID, now: life.startedAt)
        let past = Past(
            contact: status.contact, identity: status.identity, sectionNames: status.sectionNames,
            ends: status.ends + [end].compactMap(\.self))
        self.past = past
        return past
    }
}

extension AgentStatus.End {
    /// How the last agent ended; nil where there was none, or it did its work and was to end then.
    ///
    /// - Parameters:
    ///   - life: as it wrote it down; nil where it did not come to that.
    ///   - death: how plugin code ended its process.
    ///   - now: when the next one started.
    fileprivate init?(last life: AgentStatus.Life?, death: ProcessDeath?, bootID: String?, now: Date) {
        if let death {
            self.init(
                at: now,
                failure: AgentStatus.Failure(
                    code: "run.crashed", reason: "the plugin \(quoted(death.pluginID)) took it down \(death.sentence)",
                    plugin: death.pluginID, run: death.runID?.rawValue))
        } else if let life {
            if let stopped = life.stoppedAt {
                guard life.isOnce != true else { return nil }
                self.init(at: stopped, failure: life.failure)
            } else if life.bootID != bootID {
                self.init(at: now, failure: AgentStatus.Failure(code: nil, reason: "the host was restarted"))
            } else {
                self.init(
                    at: now,
                    failure: AgentStatus.Failure(
                        code: nil,
                        reason:
                            "it was ended from outside (SIGKILL, or the host was out of memory), or by a fault on a "
                            + "thread of its own or of a plugin's"))
            }
        } else {
            return nil
        }
    }
}
