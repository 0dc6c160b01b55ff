public import AgentModel
public import BackendClient
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
    public struct Parts: Sendable {
        public var journal: RunJournal
        public var catalog: PluginCatalog
        public var dispatcher: Dispatcher
        public var scheduler: Scheduler
        public var clock: any WallClock
        /// What confines a loaded plugin.
        public var isolation: @Sendable (PluginID) -> String
        /// Who holds a thread of the executor.
        public var use: @Sendable () -> ExecutorUse

        public init(
            journal: RunJournal, catalog: PluginCatalog, dispatcher: Dispatcher, scheduler: Scheduler,
            clock: any WallClock, isolation: @escaping @Sendable (PluginID) -> String,
            use: @escaping @Sendable () -> ExecutorUse = { ExecutorUse(workers: 0) }
        ) {
            self.use = use
            self.isolation = isolation
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

    private let parts: Parts
    private let trigger: Trigger
    private let logger: Logger
    private var life: AgentStatus.Life
    private var contact: AgentStatus.Contact?
    /// As it is in the journal.
    private var written: [String: String] = [:]
    private var hasFailed = false

    private static let pause = Duration.seconds(1)
    /// Bounds what one sentence takes, in Unicode scalars.
    private static let textLimit = 500

    public init(parts: Parts, trigger: Trigger, serverURL: String?, logger: Logger) {
        self.parts = parts
        self.trigger = trigger
        self.logger = logger
        life = AgentStatus.Life(
            version: AgentVersion.current, processID: getpid(), serverURL: serverURL, startedAt: parts.clock.now)
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
        let now = parts.clock.now
        let before = if let contact { contact } else { await contactOfLastLife() }
        contact = AgentStatus.Contact(
            at: now, code: error?.code, problem: error.map { Self.cut($0.message) },
            lastSuccess: error == nil ? now : before?.lastSuccess)
        trigger()
    }

    /// Writes down that the agent ends by itself.
    public func stopped() async {
        life.stoppedAt = parts.clock.now
        await record()
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
                try await parts.journal.keep(snapshots: changed, at: parts.clock.now)
                written.merge(changed) { $1 }
            }
            hasFailed = false
        } catch {
            // Once, because nothing but the status suffers from it and a full disk is said by every run.
            let coded = error as? any CodedError
            logger.log(
                level: hasFailed ? .debug : .warning,
                "the status could not be written down: \(coded?.message ?? "\(error)")",
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
        let plugins = await parts.catalog.plugins
        status.plugins = AgentStatus.Listing(
            total: plugins.count,
            first: plugins.sorted { $0.key < $1.key }.prefix(AgentStatus.listLimit).map(plugin))
        let queue = await parts.dispatcher.queueState(limit: AgentStatus.listLimit)
        status.queued = queue.queued
        let use = parts.use()
        status.executor = executor(use)
        var waiting: [AgentStatus.Waiting] = []
        // The queue empties without a word, and what a plugin has come for leaves those that wait a moment later.
        var isSettled = queue.queued == 0 && use.uses.isEmpty && use.hold == nil
        for run in queue.waiting {
            guard case .wait(let reason, _) = await parts.catalog.resolve(run.task.command) else {
                isSettled = false
                continue
            }
            waiting.append(
                AgentStatus.Waiting(task: run.task.id, command: Self.cut(run.task.command), reason: Self.cut(reason)))
        }
        status.waiting = AgentStatus.Listing(total: queue.waitingCount, first: waiting)
        let (total, entries) = await parts.scheduler.firstEntries(AgentStatus.listLimit)
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
    private func executor(_ use: ExecutorUse) -> AgentStatus.Executor {
        let uses = use.uses.filter { $0.since.timeIntervalSinceNow < -Self.longUse }
        return AgentStatus.Executor(
            workers: use.workers,
            held: use.hold.map { hold in
                AgentStatus.Hold(
                    by: Self.cut(hold.holder), plugin: hold.plugin?.rawValue, run: hold.runID,
                    thread: hold.thread.map(Self.cut), since: wholeSecond(hold.since))
            },
            uses: AgentStatus.Listing(
                total: uses.count,
                first: uses.map { use in
                    AgentStatus.Use(
                        plugin: use.plugin.rawValue, run: use.runID, kind: use.kind.rawValue,
                        state: use.state.rawValue, since: wholeSecond(use.since))
                }))
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
                isolation: parts.isolation(id))
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

    /// When the backend last answered an earlier agent, so that the time isn't lost by a restart without it.
    private func contactOfLastLife() async -> AgentStatus.Contact? {
        guard let snapshots = try? await parts.journal.reader.snapshots() else { return nil }
        return AgentStatus(snapshots: snapshots).contact
    }
}
