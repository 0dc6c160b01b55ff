public import AgentModel
import DequeModule
public import Logging
public import PluginExecution
public import PluginStore
public import RunJournal
public import ServiceLifecycle

/// Takes runs that are due, gives each its turn, and sees it through: into the journal, through the executor, and
/// back into the journal with its result.
public actor Dispatcher: Service {
    /// What a dispatcher needs from the rest of the agent.
    public struct Parts: Sendable {
        public var journal: RunJournal
        public var catalog: PluginCatalog
        public var executor: any Executor
        public var clock: any WallClock
        /// Compares the plugin's file with what was verified; throws where it is another now.
        public var recheck: @Sendable (VerifiedPlugin) throws -> Void
        /// Called when a result has been put into the outbox.
        public var onResult: @Sendable () -> Void
        /// Called when a plugin's file turned out to be another: it is fetched again.
        public var onDamagedPlugin: @Sendable (PluginID) -> Void
        /// Bytes in the outbox past which nothing is started.
        public var outboxLimit: @Sendable () -> Int

        public init(
            journal: RunJournal, catalog: PluginCatalog, executor: any Executor, clock: any WallClock,
            recheck: @escaping @Sendable (VerifiedPlugin) throws -> Void, onResult: @escaping @Sendable () -> Void,
            onDamagedPlugin: @escaping @Sendable (PluginID) -> Void,
            outboxLimit: @escaping @Sendable () -> Int = { .max }
        ) {
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

    private let parts: Parts
    private let workers: Int
    private var concurrency: [PluginID: Int]
    private let logger: Logger
    private let starts: AsyncStream<PlannedRun>
    private let startsContinuation: AsyncStream<PlannedRun>.Continuation

    private var lanes: [Lane.Key: Lane] = [:]
    /// Lanes with a run that could start, in the order of their turns.
    private var turns = Deque<Lane.Key>()
    /// By task id: queued, waiting for its plugin, or running. Such a task isn't queued again.
    private var held: [String: Held] = [:]
    private var waiting: [String: PlannedRun] = [:]
    /// Why tasks wait or have waited, as the log says it.
    private var reasons: [String: String] = [:]
    private var running = 0
    private var isStopping = false
    private var isOutboxFull = false
    /// Runs that wait until the journal can be written again.
    private var unrecorded = 0
    private var settledWaiters: [CheckedContinuation<Void, Never>] = []
    private var idleWaiters: [CheckedContinuation<Void, Never>] = []
    public private(set) var tally = Tally()

    private struct Held {
        enum State {
            case queued(Lane.Key)
            case waiting
            case running(Lane.Key)
        }

        var run: PlannedRun
        var state: State

        var isRunning: Bool { if case .running = state { true } else { false } }
    }

    /// The runs of one plugin, which are called one at a time unless configured otherwise.
    private struct Lane {
        enum Key: Hashable {
            case plugin(PluginID)
            /// Runs that will be rejected.
            case none
        }

        var queue = Deque<PlannedRun>()
        var running = 0
        var hasTurn = false
    }

    /// - Parameters:
    ///   - workers: how many runs may be under way at the same time.
    ///   - concurrency: of single plugins, where it isn't one.
    public init(parts: Parts, workers: Int, concurrency: [PluginID: Int] = [:], logger: Logger) {
        self.parts = parts
        self.workers = workers
        self.concurrency = concurrency
        self.logger = logger
        (starts, startsContinuation) = AsyncStream.makeStream()
    }

    // MARK: Queueing

    /// Queues a run unless its task is queued or running already.
    public func submit(_ run: PlannedRun) async {
        guard !isStopping else { return }
        if let known = held[run.task.id] {
            if let fireTime = run.scheduledFor {
                logger.warning(
                    "a fire time is passed over: the task is still queued or running",
                    metadata: ["task": "\(run.task.id)", "scheduled_for": "\(RFC3339.string(from: fireTime))"])
                return
            }
            // A one-off that was changed before its turn runs as it is now.
            guard !known.isRunning, known.run != run else { return }
            drop([run.task.id])
        }
        held[run.task.id] = Held(run: run, state: .waiting)
        await enqueue(run)
    }

    /// Drops what is queued and not running of tasks that the backend doesn't list any more, or not as that: a one-off
    /// that has become a schedule, or the reverse.
    public func withdraw(exceptOneOffs oneOffs: Set<String>, schedules: Set<String>) {
        let gone = held.filter { id, held in
            !held.isRunning && !(held.run.scheduledFor == nil ? oneOffs : schedules).contains(id)
        }
        drop(Set(gone.keys))
        resumeIfIdle()
    }

    private func drop(_ taskIDs: Set<String>) {
        guard !taskIDs.isEmpty else { return }
        for id in taskIDs {
            held[id] = nil
            waiting[id] = nil
            reasons[id] = nil
        }
        for key in lanes.keys { lanes[key]?.queue.removeAll { taskIDs.contains($0.task.id) } }
    }

    /// Looks again at the runs whose plugin wasn't there.
    public func catalogChanged() async {
        let runs = waiting.values
        waiting.removeAll()
        for run in runs where held[run.task.id] != nil { await enqueue(run) }
        resumeIfIdle()
    }

    /// Returns when nothing is queued or running. Runs that wait for a plugin to be fetched don't count.
    public func idle() async {
        guard !isIdle else { return }
        await withCheckedContinuation { idleWaiters.append($0) }
    }

    /// Starts nothing more and returns when nothing runs: every outcome is in the journal.
    public func settled() async {
        isStopping = true
        startsContinuation.finish()
        guard running > 0 else { return }
        await withCheckedContinuation { settledWaiters.append($0) }
    }

    /// Starts nothing more; what runs goes on.
    public func stopStarting() { isStopping = true }

    /// Starts what was held back while the outbox was full, if there is room now.
    public func outboxShrank() {
        guard isOutboxFull else { return }
        admit()
    }

    /// Whether runs were held back while the outbox was full, and have been started now.
    public func resumesAfterDelivery() -> Bool {
        guard isOutboxFull else { return false }
        admit()
        return !isOutboxFull
    }

    /// - Parameter concurrency: of single plugins, where it isn't one.
    public func setConcurrency(_ concurrency: [PluginID: Int]) {
        self.concurrency = concurrency
        admit()
    }

    /// Runs that wait for their plugin.
    public func waitingTasks() -> [String] { waiting.keys.sorted() }

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
            queued: max(0, held.count - waiting.count - running), waitingCount: waiting.count,
            waiting: waiting.keys.min(limit) { $0 < $1 }.compactMap { waiting[$0] })
    }

    private func enqueue(_ run: PlannedRun) async {
        let key: Lane.Key
        switch await parts.catalog.resolve(run.task.command) {
        case .run(let plugin, _): key = .plugin(plugin.id)
        case .reject: key = .none
        case .wait(let reason):
            // Once; it is looked at again at every synchronization.
            logger.log(
                level: reasons.updateValue(reason, forKey: run.task.id) == reason ? .debug : .info,
                "a task waits for its plugin",
                metadata: ["task": "\(run.task.id)", "command": "\(run.task.command)", "reason": "\(reason)"])
            if held[run.task.id]?.run == run { waiting[run.task.id] = run }
            return
        }
        // It may have been withdrawn or changed meanwhile.
        guard held[run.task.id]?.run == run else { return }
        reasons[run.task.id] = nil
        held[run.task.id]?.state = .queued(key)
        lanes[key, default: Lane()].queue.append(run)
        takeTurn(key)
        admit()
    }

    private func takeTurn(_ key: Lane.Key) {
        guard lanes[key]?.hasTurn == false else { return }
        lanes[key]?.hasTurn = true
        turns.append(key)
    }

    /// Starts as many runs as there is room for, the plugins taking turns.
    private func admit() {
        guard !turns.isEmpty, hasRoomInOutbox() else { return }
        var passedOver: [Lane.Key] = []
        while running < workers, !isStopping, let key = turns.popFirst() {
            guard var lane = lanes[key], let run = lane.queue.first else {
                lanes[key]?.hasTurn = false
                if let lane = lanes[key], lane.queue.isEmpty, lane.running == 0 { lanes[key] = nil }
                continue
            }
            guard lane.running < limit(of: key) else {
                passedOver.append(key)
                continue
            }
            if case .terminated = startsContinuation.yield(run) {
                isStopping = true
                return
            }
            lane.queue.removeFirst()
            lane.running += 1
            lanes[key] = lane
            turns.append(key)
            running += 1
            held[run.task.id]?.state = .running(key)
        }
        turns.append(contentsOf: passedOver)
    }

    /// What is there is kept however long the backend stays away; so there must be an end to what is added.
    private func hasRoomInOutbox() -> Bool {
        let (bytes, limit) = (parts.journal.outboxBytes, parts.outboxLimit())
        if isOutboxFull != (bytes >= limit) {
            isOutboxFull = bytes >= limit
            let metadata: Logger.Metadata = ["outbox_bytes": "\(bytes)", "outbox_limit": "\(limit)"]
            if isOutboxFull {
                logger.critical(
                    """
                    the outbox is full: nothing new is run until the backend takes results, or a person discards some; \
                    nothing is dropped
                    """, metadata: metadata.merging(["code": "journal.outbox_full"], uniquingKeysWith: { $1 }))
            } else {
                logger.notice("the outbox has room again; runs are started again", metadata: metadata)
            }
        }
        if isOutboxFull { resumeIfIdle() }
        return !isOutboxFull
    }

    private func recordingFailed() {
        unrecorded += 1
        resumeIfIdle()
    }

    private func recordingEnded() { unrecorded -= 1 }

    private func limit(of key: Lane.Key) -> Int {
        switch key {
        case .plugin(let id): concurrency[id] ?? 1
        case .none: workers
        }
    }

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
        let ending = await RunExecution(run: run, parts: parts, recorder: recorder, logger: logger).perform()
        switch ending {
        case .succeeded: tally.succeeded += 1
        case .failed: tally.failed += 1
        case .notRun, .postponed: break
        case .unrecorded: tally.failed += 1
        }
        if case .running(let key)? = held.removeValue(forKey: run.task.id)?.state {
            lanes[key]?.running -= 1
            if let lane = lanes[key] {
                if lane.queue.isEmpty && lane.running == 0 && !lane.hasTurn {
                    lanes[key] = nil
                } else if !lane.queue.isEmpty {
                    takeTurn(key)
                }
            }
        }
        running -= 1
        if case .postponed = ending {
            held[run.task.id] = Held(run: run, state: .waiting)
            waiting[run.task.id] = run
        }
        admit()
        resumeIfIdle()
        if isStopping && running == 0 {
            let waiters = settledWaiters
            settledWaiters.removeAll()
            for waiter in waiters { waiter.resume() }
        }
    }

    private var isIdle: Bool {
        // Where the journal can't be written, or the outbox is full, nothing comes of waiting.
        guard running == unrecorded else { return false }
        return unrecorded > 0 || isOutboxFull || held.keys.allSatisfy { waiting[$0] != nil }
    }

    private func resumeIfIdle() {
        guard isIdle else { return }
        let waiters = idleWaiters
        idleWaiters.removeAll()
        for waiter in waiters { waiter.resume() }
    }
}
