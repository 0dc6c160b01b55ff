public import AgentModel
import Diagnostics
public import Logging
public import PluginExecution
public import PluginStore
public import RunJournal
public import ServiceLifecycle
import Synchronization

/// Takes runs that are due, gives each its turn, and sees it through: into the journal, through the executor, and
/// back into the journal with its result.
public actor Dispatcher: Service {
    // More than a dozen properties: queue, outbox gate and resolved commands are values of their own; the rest is who waits for what.
    /// What a dispatcher needs from the rest of the agent.
    public struct Dependencies: Sendable {
        public var journal: any RunLedger
        public var catalog: PluginCatalog
        public var executor: any Executor
        public var clock: any WallClock
        /// Compares the plugin's file with what was verified; throws where it is another now.
        public var recheck: @Sendable (VerifiedPlugin) async throws -> Void
        /// Called when a result has been put into the outbox.
        public var onResult: @Sendable () -> Void
        /// Called when a plugin's file turned out to be another: it is fetched again.
        public var onDamagedPlugin: @Sendable (PluginID) -> Void
        /// Bytes in the outbox past which nothing is started.
        public var outboxLimit: @Sendable () -> Int
        /// Whether one-offs of a plugin may run again where the agent ended while they ran.
        public var isIdempotent: @Sendable (PluginID) -> Bool

        public init(
            journal: any RunLedger, catalog: PluginCatalog, executor: any Executor, clock: any WallClock,
            recheck: @escaping @Sendable (VerifiedPlugin) async throws -> Void,
            onResult: @escaping @Sendable () -> Void,
            onDamagedPlugin: @escaping @Sendable (PluginID) -> Void,
            outboxLimit: @escaping @Sendable () -> Int = { .max },
            isIdempotent: @escaping @Sendable (PluginID) -> Bool = { _ in false }
        ) {
            self.isIdempotent = isIdempotent
            self.journal = journal
            self.catalog = catalog
            self.executor = executor
            self.clock = clock
            self.recheck = recheck
            self.onResult = onResult
            self.onDamagedPlugin = onDamagedPlugin
            self.outboxLimit = outboxLimit
        }
    }

    /// What has been done since the start.
    public struct Tally: Sendable, Equatable {
        public var succeeded = 0
        public var failed = 0
    }

    nonisolated let dependencies: Dependencies
    let logger: Logger
    private let starts: AsyncStream<PlannedRun>
    private let startsContinuation: AsyncStream<PlannedRun>.Continuation

    var queue: RunQueue
    private var commands = ResolvedCommands()
    private var outbox = OutboxGate() { didSet { isHoldingBack.store(outbox.isFull, ordering: .releasing) } }
    private let isHoldingBack = Atomic(false)
    /// How often it was said that plugins have changed.
    private var catalogVersion = 0
    private var isLookingAgain = false
    private var looksAtAll = false
    private let withdrawn = WithdrawnTasks()
    nonisolated let inProgress = RunsInProgress()
    var isStopping = false
    /// Runs that wait until the journal can be written again.
    private var unrecorded = 0
    private var settledWaiters: [CheckedContinuation<Void, Never>] = []
    private var idleWaiters: [CheckedContinuation<Void, Never>] = []
    public private(set) var tally = Tally()

    /// - Parameters:
    ///   - workers: how many runs may be under way at the same time.
    ///   - concurrency: how many calls of a plugin may run at the same time.
    public init(
        dependencies: Dependencies, workers: Int, concurrency: @escaping @Sendable (PluginID) -> Int = { _ in 1 },
        logger: Logger
    ) {
        self.dependencies = dependencies
        queue = RunQueue(workers: workers, concurrency: concurrency)
        self.logger = logger
        (starts, startsContinuation) = AsyncStream.makeStream()
    }

    /// Changes how many runs may be under way at the same time.
    func setWorkers(_ count: Int) {
        queue.workers = count
        admit()
    }

    // MARK: Queueing

    /// Queues a run unless its task is queued or running already.
    public func submit(_ run: PlannedRun) async {
        guard !isStopping else { return }
        switch queue.hold(run) {
        case .held:
            if run.scheduledFor == nil, inProgress.cancellation(ofTask: run.task.key) != nil {
                startAtOnce(run.task.key)
            } else {
                await enqueue(run)
            }
        case .known: break
        case .overlaps:
            logger.warning(
                "skipping a scheduled run: the previous one is still queued or running",
                metadata: [
                    "task_id": "\(run.task.id)",
                    "scheduled_for": "\(run.scheduledFor.map { RFC3339.string(from: $0) } ?? "")",
                ])
        }
    }

    /// Drops what is queued and not running of tasks that the backend doesn't list any more, or not as that: a one-off
    /// that has become a schedule, or the reverse.
    ///
    /// Of what has been handed to the executor, one-offs that have not begun are taken back.
    public func withdraw(exceptOneOffs oneOffs: Set<TaskID>, schedules: Set<TaskID>) {
        withdrawn.replace(with: queue.withdraw(exceptOneOffs: oneOffs, schedules: schedules))
        resumeIfIdle()
    }

    /// Looks again at the runs whose plugin wasn't there, in the order in which they came.
    ///
    /// Where that is being done already it is done once more after that, and this returns at once: a thousand plugins
    /// may be loaded one after the other while a long list waits.
    ///
    /// - Parameter inAll: also where the catalog says the same as before.
    public func catalogChanged(inAll: Bool = false) async {
        catalogVersion += 1
        looksAtAll = looksAtAll || inAll
        guard !isLookingAgain else { return }
        isLookingAgain = true
        var seen: Int
        repeat {
            seen = catalogVersion
            await lookAgain()
        } while seen != catalogVersion
        isLookingAgain = false
        resumeIfIdle()
    }

    private func lookAgain() async {
        let all = exchange(&looksAtAll, with: false)
        let changes = await dependencies.catalog.takeChanges()
        let questions = queue.questions(about: all ? nil : changes)
        guard !questions.isEmpty else { return }
        let settled = await dependencies.catalog.settled(among: questions)
        for run in queue.runs(waitingFor: settled) {
            // It may have been withdrawn or changed meanwhile.
            guard queue.isWaiting(run) else { continue }
            await enqueue(run)
        }
    }

    /// Returns when nothing is queued or running. Runs that wait for a plugin to be fetched don't count.
    public func idle() async {
        guard !isIdle else { return }
        await withCheckedContinuation { idleWaiters.append($0) }
    }

    /// Starts nothing more and returns when nothing runs: every outcome is in the journal.
    public func settled() async {
        // `run` goes on until it is told to end: a service that ends before its turn makes the others be cancelled.
        stopStarting()
        await ended()
    }

    /// Returns when nothing runs and nothing more is started.
    public func ended() async {
        guard !isStopping || queue.inMemory > 0 else { return }
        await withCheckedContinuation { settledWaiters.append($0) }
    }

    /// Starts nothing more; what runs goes on.
    public func stopStarting() { isStopping = true }

    /// Whether runs are held back because the outbox is full. Answered without waiting for the actor.
    public nonisolated var holdsBack: Bool { isHoldingBack.load(ordering: .acquiring) }

    /// Starts what was held back while the outbox was full, if there is room now.
    public func outboxShrank() {
        guard outbox.isFull else { return }
        admit()
    }

    /// Counts a task that was rejected without having been handed in.
    public func countRejection() { tally.failed += 1 }

    /// The concurrency of plugins may be another from now on.
    public func concurrencyChanged() { admit() }

    /// The command of a task that is queued, waits or runs; nil for any other.
    func command(of task: TaskID) -> String? { queue.command(of: task) }

    /// Runs that wait for their plugin.
    public func waitingTasks() -> [String] { queue.waitingRuns().map(\.task.id) }

    /// What waits, for people who look.
    struct QueueState: Sendable {
        /// Runs whose turn has not come.
        var queued: Int
        /// Runs whose plugin isn't there.
        var waitingCount: Int
        /// The first of these by task id.
        var waiting: [PlannedRun]
    }

    func queueState(limit: Int) -> QueueState {
        QueueState(
            queued: queue.queuedCount, waitingCount: queue.waitingCount, waiting: queue.waitingRuns(limit: limit))
    }

    private func enqueue(_ run: PlannedRun) async {
        guard queue.holds(run) else { return }
        let group: RunQueue.Group
        let version = catalogVersion
        switch await resolve(run.question) {
        case .run(let plugin, _): group = .plugin(plugin.id)
        case .reject: group = .rejected
        case .wait(let reason, let isLoading):
            // Its plugin may have come while this was asked, and nobody would look again.
            guard version == catalogVersion else { return await enqueue(run) }
            // Once; it is looked at again whenever plugins have changed.
            let isNew = queue.wait(run, reason: isLoading ? nil : reason)
            logger.log(
                level: isNew ? .info : .debug, "a task waits for its plugin",
                metadata: ["task_id": "\(run.task.id)", "command": "\(run.task.command)", "reason": "\(reason)"])
            return
        }
        // Unless it was withdrawn or changed meanwhile.
        queue.queue(run, in: group)
        admit()
    }

    /// Asks the catalog only where it has changed since it was asked the same.
    private func resolve(_ question: PluginCatalog.Question) async -> PluginCatalog.Resolution {
        if let known = commands.find(question, at: dependencies.catalog.version) {
            return .run(plugin: known.plugin, function: known.function)
        }
        let (resolution, version) = await dependencies.catalog.resolve(question)
        if case .run(let plugin, let function) = resolution {
            commands.keep(ResolvedCommand(plugin: plugin, function: function, version: version), for: question)
        }
        return resolution
    }

    /// Starts as many runs as there is room for, the plugins taking turns.
    private func admit() {
        guard queue.hasTurns, !isStopping, hasRoomInOutbox() else { return }
        for admitted in queue.admit() { start(admitted.run) }
    }

    func start(_ run: PlannedRun) {
        if case .terminated = startsContinuation.yield(run) {
            // The backend lists it again in the agent's next life.
            isStopping = true
            queue.leave(run, after: nil)
            queue.finish(run)
        }
    }

    private func hasRoomInOutbox() -> Bool {
        let wasFull = outbox.isFull
        noteOutbox()
        // A result that left the outbox before this was noted has told nobody.
        if outbox.isFull, !wasFull { noteOutbox() }
        if outbox.isFull { resumeIfIdle() }
        return !outbox.isFull
    }

    private func noteOutbox() {
        let limit = dependencies.outboxLimit()
        let bytes = dependencies.journal.outboxBytes + queue.recordingBytes
        guard outbox.note(bytes: bytes, limit: limit) else { return }
        let metadata: Logger.Metadata = ["outbox_bytes": "\(bytes)", "outbox_limit": "\(limit)"]
        if outbox.isFull {
            logger.critical(
                """
                the outbox is full: nothing new is run until the backend takes results, or a person discards some; \
                nothing is dropped
                """, metadata: metadata.merging(["code": "journal.outbox_full"], uniquingKeysWith: { $1 }))
        } else {
            logger.notice("the outbox has room again; starting runs again", metadata: metadata)
        }
    }

    private func recordingFailed() {
        unrecorded += 1
        resumeIfIdle()
    }

    private func recordingEnded() { unrecorded -= 1 }

    // MARK: Running

    public func run() async throws {
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                for await run in starts {
                    group.addTask { await self.carryOut(run) }
                }
            }
        } onGracefulShutdown: {
            // What was handed out before goes on to its end; `admit` notices.
            self.startsContinuation.finish()
        }
    }

    private func carryOut(_ run: PlannedRun) async {
        let recorder = RunRecorder(
            taskID: run.task.id, logger: logger, onFailure: { await self.recordingFailed() },
            onEnd: { await self.recordingEnded() })
        let command = commands.find(run.question, at: dependencies.catalog.version)
        let execution = RunExecution(
            run: run, command: command, dependencies: dependencies, recorder: recorder, withdrawn: withdrawn,
            inProgress: inProgress, logger: logger)
        let ending: RunExecution.Ending
        let version = catalogVersion
        switch await execution.call() {
        case .called(let call):
            // The next one may begin while this one's result is written down.
            let size = call.outcome.size
            queue.leave(run, after: RunQueue.Cost(duration: call.outcome.duration, size: size))
            queue.beginRecording(size)
            admit()
            ending = await execution.record(call)
            queue.endRecording(size)
        case .ended(let end):
            queue.leave(run, after: nil)
            ending = end
        }
        switch ending {
        case .succeeded: tally.succeeded += 1
        case .failed: tally.failed += 1
        case .notRun, .postponed: break
        case .unrecorded: tally.failed += 1
        }
        if case .postponed = ending {
            queue.finish(run, isHeldAgain: true)
            if run.scheduledFor == nil, inProgress.cancellation(ofTask: run.task.key) != nil {
                // It came while the run looked for its plugin.
                startAtOnce(run.task.key)
            } else if version == catalogVersion {
                _ = queue.wait(run)
            } else {
                await enqueue(run)
            }
        } else {
            queue.finish(run)
        }
        admit()
        resumeIfIdle()
        if isStopping && queue.inMemory == 0 {
            let waiters = settledWaiters
            settledWaiters.removeAll()
            for waiter in waiters { waiter.resume() }
        }
    }

    private var isIdle: Bool {
        // Where the journal can't be written, or the outbox is full, nothing comes of waiting.
        guard queue.inMemory == unrecorded, !isLookingAgain else { return false }
        return unrecorded > 0 || outbox.isFull || queue.holdsOnlyWaiting
    }

    private func resumeIfIdle() {
        guard isIdle else { return }
        let waiters = idleWaiters
        idleWaiters.removeAll()
        for waiter in waiters { waiter.resume() }
    }
}

extension Outcome {
    /// Bytes of its texts.
    fileprivate var size: Int {
        (data?.utf8.count ?? 0) + stdout.utf8.count + stderr.utf8.count + (error?.message.utf8.count ?? 0)
            + (error?.traceback?.utf8.count ?? 0) + (pythonStack?.utf8.count ?? 0)
    }
}
