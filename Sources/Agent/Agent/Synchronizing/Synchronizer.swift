public import AgentModel
public import BackendClient
public import Logging
public import ServiceLifecycle
import Synchronization

/// Asks the backend, again and again, who this agent is, which plugins it must have and what it should run.
///
/// A failure in one plugin or task never stops the others.
public actor Synchronizer: Service {
    // More than a dozen properties: what the backend said last, each with what is needed to ask for the next.
    /// What a synchronizer keeps up to date.
    public struct Dependencies: Sendable {
        public var client: BackendClient
        public var plugins: PluginLoader
        public var tasks: TaskIntake
        public var runs: RunControl
        public var scheduler: Scheduler
        public var dispatcher: Dispatcher
        /// Called at the end of each round, with what the backend's answer failed by.
        public var onRound: @Sendable (BackendError?) async -> Void
        /// Called with the `backend_id` of each answer that has one.
        public var onBackend: @Sendable (String) async -> Void
        /// Called with each answer that says who this agent is.
        public var onAgent: @Sendable (AgentDocument) async -> Void

        public init(
            client: BackendClient, plugins: PluginLoader, tasks: TaskIntake, runs: RunControl, scheduler: Scheduler,
            dispatcher: Dispatcher,
            onRound: @escaping @Sendable (BackendError?) async -> Void = { _ in },
            onBackend: @escaping @Sendable (String) async -> Void = { _ in },
            onAgent: @escaping @Sendable (AgentDocument) async -> Void = { _ in }
        ) {
            self.client = client
            self.plugins = plugins
            self.tasks = tasks
            self.runs = runs
            self.scheduler = scheduler
            self.dispatcher = dispatcher
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
    private var runRequests = RunRequests.none
    private var hasNoTeam = false
    private var longPoll = LongPoll()
    private var nextPause = LongPoll.Pause.pollInterval
    private var isRetryPending = false
    private let knowsPartTwo = Atomic(false)
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

    /// Synchronizes soon, without waiting for the interval.
    public nonisolated func wake() { alarm.ring() }

    /// Whether the backend has shown that it knows part 2 of the contract (`Preference-Applied`).
    nonisolated var isBackendOurs: Bool { knowsPartTwo.load(ordering: .acquiring) }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    if let plugins = await self.beginRound() {
                        // A plugin that is slow to come keeps no other, and no task, from its turn.
                        group.addTask { await self.bringUpToDateOrRetry(plugins) }
                        if let changed = await self.waitForTasks() {
                            group.addTask { await self.bringUpToDateOrRetry(changed) }
                        }
                    }
                    await self.pause()
                }
            }
        }
    }

    private func pause() async {
        if nextPause == .none { return }
        let pause = nextPause.duration(pollInterval: pollInterval, random: Double.random(in: 0...1))
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
            note(longPoll.failed(isCut: false))
            return nil
        }
    }

    /// Reads the tasks, and waits for them to change where the backend holds the request for so long.
    ///
    /// - Returns: the plugins that are wanted now, where they were asked for again.
    private func waitForTasks() async -> [PluginID]? {
        guard let wait = longPoll.wait else {
            if await finishRound() { longPoll.polled() }
            nextPause = .pollInterval
            return nil
        }
        await checkClock()
        let start = ContinuousClock.now
        /// How long the answer took; nil until it is there.
        var elapsed: Duration?
        do throws(BackendError) {
            guard let answer = try await heldTasks(wait) else {
                // Something has to be looked at: what waits to be read is read in the next round.
                nextPause = .none
                return nil
            }
            let taken = start.duration(to: .now)
            elapsed = taken
            var plugins: [PluginID]?
            // A plugin and its first task may come in one change. What can run already doesn't wait for that: the next round
            // asks who this agent is by itself.
            if let list = answer.list, answer.isHeld, tasksETag != nil, await !canRun(list) {
                plugins = await dependencies.plugins.accept(try await readAgent().plugins)
            }
            let isNew = await accept(answer)
            await noteSuccess()
            let hasChanged = answer.list != nil || answer.requests != nil
            note(
                longPoll.answered(
                    isApplied: answer.isHeld, hasChanged: hasChanged, isNew: isNew, closes: answer.closes, after: taken)
            )
            // Without a tag there is nothing to wait for.
            if tasksETag == nil { nextPause = .pollInterval }
            return plugins
        } catch {
            if Task.isCancelled { return nil }
            await report(error)
            // What fails after the answer is no fault of the wait.
            note(longPoll.failed(isCut: elapsed == nil && error.isCut && start.duration(to: .now) > .seconds(5)))
            return nil
        }
    }

    private func canRun(_ list: TaskList) async -> Bool {
        await dependencies.dispatcher.provides(Set(list.tasks.map(\.command)))
    }

    /// Nil where somebody wants a round now.
    private func heldTasks(_ wait: Duration) async throws(BackendError) -> TasksPoll? {
        let (client, etag) = (dependencies.client, tasksETag)
        let result = await withTaskGroup(of: Result<TasksPoll, BackendError>?.self) { group in
            group.addTask {
                do throws(BackendError) {
                    return .success(try await client.tasks(ifNoneMatch: etag, wait: wait))
                } catch {
                    return .failure(error)
                }
            }
            group.addTask { [alarm] in
                await alarm.wait()
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
        return try result?.get()
    }

    private func note(_ outcome: (pause: LongPoll.Pause, notice: LongPoll.Notice?)) {
        nextPause = outcome.pause
        switch outcome.notice {
        case .shortened(let wait):
            logger.notice(
                "something between agent and backend cuts requests that wait; asking for shorter waits",
                metadata: ["wait_s": "\(wait.components.seconds)", "code": "backend.wait_cut"])
        case .givenUp:
            logger.warning(
                "something between agent and backend cuts requests that wait; polling every poll_interval instead",
                metadata: ["code": "backend.wait_cut"])
        case .endedEarly:
            logger.warning(
                "the backend ends waits early; another host may use this agent's identity",
                metadata: ["code": "backend.wait_ended"])
        case nil: break
        }
    }

    /// Plugins that could not be had are asked for again after `poll_interval`, also while the backend holds a request.
    private func bringUpToDateOrRetry(_ plugins: [PluginID]) async {
        guard await !bringUpToDate(plugins), !isRetryPending else { return }
        isRetryPending = true
        try? await Task.sleep(for: pollInterval)
        isRetryPending = false
        // A backend that is polled is asked again by itself.
        if longPoll.isHeld { alarm.ring() }
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
            await noteSuccess()
            return true
        } catch {
            await report(error)
            note(longPoll.failed(isCut: false))
            return false
        }
    }

    private func noteSuccess() async {
        if saidFailure != nil { logger.notice("the backend is reachable again") }
        saidFailure = nil
        await dependencies.onRound(nil)
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
            if document.lacksTeam, !hasNoTeam {
                hasNoTeam = true
                logger.warning("the backend gives this agent no team", metadata: ["code": "agent.no_team"])
            }
        }
        agent = (document, etag)
    }

    // MARK: Tasks

    private func checkClock() async {
        guard await dependencies.scheduler.checkClock() else { return }
        logger.warning(
            "the clock was set back by more than a day; all schedules count from now",
            metadata: ["code": "schedule.clock_set_back"])
    }

    private func readTasks() async throws(BackendError) {
        await checkClock()
        await accept(try await dependencies.client.tasks(ifNoneMatch: tasksETag))
    }

    /// - Returns: whether it has something that the answer before had not.
    @discardableResult
    private func accept(_ answer: TasksPoll) async -> Bool {
        if answer.isHeld { knowsPartTwo.store(true, ordering: .releasing) }
        // Before the list: what is cancelled in the same answer doesn't begin.
        var absent: [String] = []
        var isNew = false
        if let requests = answer.requests {
            isNew = requests != runRequests
            runRequests = requests
            absent = await dependencies.runs.accept(requests)
        }
        if let list = answer.list {
            let (isTakenUp, isOther) = await dependencies.tasks.accept(list)
            // What could not be written down must not be forgotten behind an unchanged list.
            tasksETag = isTakenUp ? answer.etag : nil
            isNew = isNew || isOther
        } else {
            tasksETag = answer.etag
            await dependencies.tasks.takeUpAgain()
        }
        if await !dependencies.runs.reportUnknown(absent) { tasksETag = nil }
        return isNew
    }
}

extension BackendError {
    /// Whether the connection was lost, or nothing came in time.
    fileprivate var isCut: Bool {
        switch self {
        case .transport(.connectionLost), .transport(.timeout): true
        case .status(_, let status, _, _): status == 504 || status == 502
        default: false
        }
    }
}
