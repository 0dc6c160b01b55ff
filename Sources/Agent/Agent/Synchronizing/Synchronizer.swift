public import AgentModel
public import BackendClient
import CronSchedule
import Diagnostics
import Foundation
public import Logging
public import RunJournal
public import ServiceLifecycle

/// Asks the backend, again and again, who this agent is, which plugins it must have and what it should run.
///
/// A failure in one plugin or task never stops the others.
public actor Synchronizer: Service {
    /// What a synchronizer keeps up to date.
    public struct Dependencies: Sendable {
        public var client: BackendClient
        public var plugins: PluginLoader
        public var scheduler: Scheduler
        public var dispatcher: Dispatcher
        public var journal: RunJournal
        public var clock: any WallClock
        public var onResult: @Sendable () -> Void
        /// Called at the end of each round, with what the backend's answer failed by.
        public var onRound: @Sendable (BackendError?) async -> Void
        /// Called with the `backend_id` of each answer that has one.
        public var onBackend: @Sendable (String) async -> Void
        /// Called with each answer that says who this agent is.
        public var onAgent: @Sendable (AgentDocument) async -> Void

        public init(
            client: BackendClient, plugins: PluginLoader, scheduler: Scheduler, dispatcher: Dispatcher,
            journal: RunJournal, clock: any WallClock, onResult: @escaping @Sendable () -> Void,
            onRound: @escaping @Sendable (BackendError?) async -> Void = { _ in },
            onBackend: @escaping @Sendable (String) async -> Void = { _ in },
            onAgent: @escaping @Sendable (AgentDocument) async -> Void = { _ in }
        ) {
            self.client = client
            self.plugins = plugins
            self.scheduler = scheduler
            self.dispatcher = dispatcher
            self.journal = journal
            self.clock = clock
            self.onResult = onResult
            self.onRound = onRound
            self.onBackend = onBackend
            self.onAgent = onAgent
        }
    }

    private let dependencies: Dependencies
    private var pollInterval: Duration
    private let logger: Logger
    private let alarm = Alarm()

    private var agent: (document: AgentDocument, etag: String?)?
    private var tasksETag: String?
    /// The task list as it was last read, without its duplicates.
    private var tasks: [TaskDocument] = [] { didSet { commands = nil } }
    /// By task, of that list; made where it is asked for.
    private var commands: [TaskID: String]?
    /// Whether every task of the list has been handed on since the agent's start.
    private var hasTasks = false
    private var knownSchedules: [TaskID: Date] = [:]
    /// Tasks that can't run as they are listed and have been reported, with the reason.
    private var reported: [TaskID: String] = [:]
    /// What was said about lists, so that the log doesn't repeat it at every poll.
    private var saidBefore: Set<String> = []
    /// How the last round failed; nil after one that did not.
    private var saidFailure: String?

    /// - Parameter pollInterval: between two synchronizations, ±10 %.
    public init(dependencies: Dependencies, pollInterval: Duration, logger: Logger) {
        self.dependencies = dependencies
        self.pollInterval = pollInterval
        self.logger = logger
    }

    /// From now on; the wait that is under way ends.
    public func setPollInterval(_ interval: Duration) {
        pollInterval = interval
        alarm.ring()
    }

    /// The command of a task of the list as it was last read; nil for any other.
    func command(of task: TaskID) -> String? {
        // Not through the list each time: a plugin may ask for every task of a long one.
        let known = commands ?? Dictionary(tasks.map { ($0.key, $0.command) }) { first, _ in first }
        commands = known
        return known[task]
    }

    /// Synchronizes soon, without waiting for the interval.
    public nonisolated func wake() { alarm.ring() }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    if let plugins = await self.beginRound() {
                        // A plugin that is slow to come keeps no other, and no task, from its turn.
                        group.addTask { await self.bringUpToDate(plugins) }
                        await self.finishRound()
                    }
                    await self.pause()
                }
            }
        }
    }

    private func pause() async {
        let pause = pollInterval * Double.random(in: 0.9...1.1)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: pause) }
            group.addTask { [alarm] in await alarm.wait() }
            await group.next()
            group.cancelAll()
        }
    }

    /// One round to its end: the agent, its plugins and beside them its tasks.
    ///
    /// - Returns: whether the backend answered everything that was asked.
    @discardableResult
    public func synchronize() async -> Bool {
        guard let plugins = await beginRound() else { return false }
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask { await self.bringUpToDate(plugins) }
            let areTasksRead = await finishRound()
            let arePluginsThere = await group.next() ?? false
            return areTasksRead && arePluginsThere
        }
    }

    /// The plugins that are wanted now; nil where the backend did not answer.
    private func beginRound() async -> [PluginID]? {
        do throws(BackendError) {
            return await dependencies.plugins.accept(try await readAgent().plugins)
        } catch {
            await report(error)
            return nil
        }
    }

    @discardableResult
    private func bringUpToDate(_ plugins: [PluginID]) async -> Bool {
        let areThere = await dependencies.plugins.bringUpToDate(plugins)
        // Also where nothing has changed: a run may have found its plugin's file changed, and good again since.
        await dependencies.dispatcher.catalogChanged(inAll: true)
        return areThere
    }

    /// - Returns: whether the backend answered.
    @discardableResult
    private func finishRound() async -> Bool {
        do throws(BackendError) {
            try await readTasks()
            if saidFailure != nil { logger.notice("the backend is reachable again") }
            saidFailure = nil
            await dependencies.onRound(nil)
            return true
        } catch {
            await report(error)
            return false
        }
    }

    private func report(_ error: BackendError) async {
        await dependencies.onRound(error)
        // Once, and again when it is another reason. What to do about a missing login is said once per code.
        let failure = Self.kind(of: error)
        let isNew = saidFailure != failure
        saidFailure = failure
        logger.log(
            level: error.isLoginRequired || !isNew ? .debug : .warning,
            "synchronization failed, retrying at the next poll: \(error.message)",
            metadata: ["code": "\(error.code)"])
    }

    /// What two failures have in common that differ in how long they took or in how many bytes had come.
    private static func kind(of error: BackendError) -> String {
        let words = error.code + String(error.message.filter { !$0.isNumber })
        guard case .status(_, let status, _, _) = error else { return words }
        return words + String(status)
    }

    // MARK: The agent

    private func readAgent() async throws(BackendError) -> AgentDocument {
        switch try await dependencies.client.agent(ifNoneMatch: agent?.etag) {
        case .unchanged:
            // Only a request with a tag can be answered so.
            guard let agent else { throw .missingData(url: dependencies.client.serverURL.text) }
            return agent.document
        case .changed(let document, let etag):
            await dependencies.onAgent(document)
            await accept(document, etag: etag)
            return document
        }
    }

    private func accept(_ document: AgentDocument, etag: String?) async {
        if let id = document.backendID { await dependencies.onBackend(id) }
        if agent?.document != document {
            logger.info(
                "identified by the backend",
                metadata: [
                    "id": "\(document.id)", "name": "\(document.name ?? "(not named yet)")",
                    "plugins": "\(document.plugins.count)",
                ])
            if document.lacksTeam, saidBefore.insert("agent.no_team").inserted {
                logger.warning("the backend gives this agent no team", metadata: ["code": "agent.no_team"])
            }
        }
        agent = (document, etag)
    }

    // MARK: Tasks

    private func readTasks() async throws(BackendError) {
        if await dependencies.scheduler.checkClock() {
            logger.warning(
                "the clock was set back by more than a day; all schedules count from now",
                metadata: ["code": "schedule.clock_set_back"])
        }
        switch try await dependencies.client.tasks(ifNoneMatch: hasTasks ? tasksETag : nil) {
        case .unchanged:
            // Runs that could not be recorded, or that a run under way stood in the way of, are still to be done.
            await submitOneOffs()
        case .changed(let list, let etag):
            tasks = usable(list.tasks)
            let isTakenUp = await distribute(rejecting: unreadable(list.unreadable))
            // What could not be written down must not be forgotten behind an unchanged list.
            tasksETag = isTakenUp ? etag : nil
            hasTasks = true
        }
    }

    /// - Parameter rejections: of tasks that can't be read.
    /// - Returns: whether everything of the list has been taken up.
    private func distribute(rejecting rejections: [Rejection]) async -> Bool {
        let scheduled = tasks.filter { $0.cron != nil }
        let oneOffs = tasks.filter { $0.cron == nil }
        await dependencies.dispatcher.withdraw(
            exceptOneOffs: Set(oneOffs.map(\.key)), schedules: Set(scheduled.map(\.key)))
        await submitOneOffs()
        let lastFires = await lastFires(of: scheduled)
        let problems = await dependencies.scheduler.replace(with: scheduled, lastFires: lastFires ?? [:])
        let rejections =
            rejections
            + problems.map { task, error in
                Rejection(
                    taskID: task.key, command: task.command, error: RunError(code: error.code, message: error.message))
            }
        let areReported = await withTaskGroup(of: Bool.self) { group in
            // Side by side, so that the journal takes them together.
            for rejection in rejections { group.addTask { await self.reject(rejection) } }
            var areReported = true
            for await isReported in group where !isReported { areReported = false }
            return areReported
        }
        let wrong = Set(rejections.map(\.taskID))
        reported = reported.filter { wrong.contains($0.key) }
        return areReported && lastFires != nil
    }

    private func submitOneOffs() async {
        let oneOffs = tasks.filter { $0.cron == nil }
        if dependencies.journal.mayHaveForgotten { guard await reportForgotten(oneOffs) else { return } }
        let started = dependencies.journal.oneOffTasksStarted(among: oneOffs.map(\.id))
        for task in oneOffs where !started.contains(task.key) {
            await dependencies.dispatcher.submit(PlannedRun(task: task))
        }
    }

    /// A journal that could not be recovered whole doesn't say of the one-offs that are listed whether they ran. That
    /// none runs twice is worth more than that each runs.
    ///
    /// - Returns: whether it was written down; nothing may run before.
    private func reportForgotten(_ oneOffs: [TaskDocument]) async -> Bool {
        let started = dependencies.journal.oneOffTasksStarted(among: oneOffs.map(\.id))
        let runs = oneOffs.filter { !started.contains($0.key) }.map { task in
            RunStart(taskID: task.id, isOneOff: true, command: task.command, startedAt: dependencies.clock.now)
        }
        let error = RunError(
            .runMayHaveRun,
            message: "the agent's journal was damaged and may have forgotten that this task ran; it is not run again "
                + "by itself; where it should run, give it another id")
        do {
            try await dependencies.journal.reportForgotten(runs, error: error, now: dependencies.clock.now)
        } catch {
            logger.error("could not record the results: \(error.message)", metadata: ["code": "\(error.code)"])
            return false
        }
        logger.warning(
            "not running listed one-off tasks that the damaged journal may have lost",
            metadata: ["code": "run.may_have_run", "tasks": "\(runs.count)"])
        dependencies.onResult()
        return true
    }

    /// When each schedule last fired. One that is new counts from now, also for a later life of the agent. Nil where the
    /// journal could not be read or written.
    private func lastFires(of scheduled: [TaskDocument]) async -> [TaskID: Date]? {
        do {
            // Once a life: the scheduler knows what fires from then on.
            var known = hasTasks ? knownSchedules : try await dependencies.journal.reader.lastFireTimes()
            let now = dependencies.clock.now
            if !hasTasks { try await correct(&known, now: now) }
            let new = scheduled.filter { known[$0.key] == nil }
            for task in new { known[task.key] = now }
            try await withThrowingDiscardingTaskGroup { [journal = dependencies.journal] group in
                // Side by side, so that the journal takes them together.
                for task in new { group.addTask { try await journal.fired(task.id, at: now) } }
            }
            let listed = Set(scheduled.map(\.key))
            let gone = known.keys.filter { !listed.contains($0) }
            if !gone.isEmpty { try await dependencies.journal.forgetSchedules(gone.map(\.text)) }
            known = known.filter { listed.contains($0.key) }
            knownSchedules = known
            return known
        } catch {
            logger.error(
                "could not load or save the last fire times: \((error as? any CodedError)?.message ?? "\(error)")",
                metadata: ["code": "\((error as? any CodedError)?.code ?? "journal.io")"])
            return nil
        }
    }

    /// A clock that was far ahead must not keep a schedule from firing until its time comes.
    private func correct(_ known: inout [TaskID: Date], now: Date) async throws(RunJournalError) {
        let ahead = known.filter { Scheduler.isAhead($0.value, of: now) }
        guard !ahead.isEmpty else { return }
        for id in ahead.keys { known[id] = now }
        try await dependencies.journal.resetFireTimes(of: ahead.keys.map(\.text), to: now)
        let latest = ahead.values.max() ?? now
        logger.warning(
            "schedules fired last by a clock that was more than a day ahead of this one; they count from now",
            metadata: [
                "code": "schedule.clock_set_back", "schedules": "\(ahead.count)",
                "latest": "\(RFC3339.string(from: latest))",
            ])
    }

    /// The contract: a task with an id that is there already isn't added again. An id must also fit a URL and a row of
    /// the journal.
    private func usable(_ list: [TaskDocument]) -> [TaskDocument] {
        var seen: Set<TaskID> = []
        return list.filter { task in
            guard isUsable(task.key) else { return false }
            if seen.insert(task.key).inserted { return true }
            log(
                "the backend lists the task id \(quoted(task.id)) twice; the first one counts; give the other an id of "
                    + "its own", code: "task.duplicate_id")
            return false
        }
    }

    private func isUsable(_ id: TaskID) -> Bool {
        if id.isUsable { return true }
        log(
            "the task id \(quoted(id.text)) is refused: it is empty, a dot segment, longer than 1024 bytes or has "
                + "control characters; give the task another id", code: "task.invalid_id")
        return false
    }

    /// A task that can't run as it is listed.
    private struct Rejection {
        let taskID: TaskID
        let command: String
        let error: RunError
    }

    /// The backend waits for a result of these as well. Of what has no id the log alone can speak.
    private func unreadable(_ entries: [TaskList.Unreadable]) -> [Rejection] {
        var taken = Set(tasks.map(\.key))
        return entries.compactMap { entry in
            guard let id = entry.id.map({ TaskID($0) }), isUsable(id), taken.insert(id).inserted else {
                log(entry.error.message, code: entry.error.code)
                return nil
            }
            // It has a result.
            guard !dependencies.journal.hasStarted(id.text) else { return nil }
            return Rejection(
                taskID: id, command: entry.command ?? "",
                error: RunError(code: entry.error.code, message: entry.error.message))
        }
    }

    /// Reports it to the backend once, and not again when the agent is started anew. Corrected, the task runs.
    ///
    /// - Returns: whether it is reported.
    private func reject(_ rejection: Rejection) async -> Bool {
        let (taskID, error) = (rejection.taskID, rejection.error)
        guard reported[taskID] != error.message else { return true }
        logger.error(
            "the task cannot run as listed: \(error.message)",
            metadata: ["task_id": "\(taskID)", "code": "\(error.code)"])
        let start = RunStart(
            taskID: taskID.text, isOneOff: false, command: rejection.command, startedAt: dependencies.clock.now)
        let result = TaskResult(
            data: nil, runID: start.runID.rawValue, status: .rejected, error: error, startedAt: start.startedAt,
            finishedAt: start.startedAt, durationMilliseconds: 0, isolation: RunIsolation.none.text,
            agentVersion: AgentVersion.current)
        do {
            let isNew = try await dependencies.journal.rejectedOnce(start, result: result)
            reported[taskID] = error.message
            guard isNew else { return true }
            await dependencies.dispatcher.countRejection()
            dependencies.onResult()
            return true
        } catch {
            logger.error("could not record the result: \(error.message)", metadata: ["code": "\(error.code)"])
            return false
        }
    }

    private func log(_ message: String, code: String) {
        guard saidBefore.insert(message).inserted else { return }
        // A backend that errs anew at every poll must not fill the memory.
        if saidBefore.count > 1000 { saidBefore.removeAll() }
        logger.error("\(message)", metadata: ["code": "\(code)"])
    }
}

extension TaskID {
    /// The journal's texts end at a NUL, and `.` and `..` can't be written as a path segment.
    fileprivate var isUsable: Bool {
        !text.isEmpty && text != "." && text != ".." && text.utf8.count <= 1024
            && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}
