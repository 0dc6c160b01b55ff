public import AgentModel
import DequeModule
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
    /// What a dispatcher needs from the rest of the agent.
    public struct Parts: Sendable {
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

        public init(
            journal: any RunLedger, catalog: PluginCatalog, executor: any Executor, clock: any WallClock,
            recheck: @escaping @Sendable (VerifiedPlugin) async throws -> Void,
            onResult: @escaping @Sendable () -> Void,
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
    private var workers: Int
    private let concurrency: @Sendable (PluginID) -> Int
    private let logger: Logger
    private let starts: AsyncStream<PlannedRun>
    private let startsContinuation: AsyncStream<PlannedRun>.Continuation

    private var lanes: [Lane.Key: Lane] = [:]
    /// Lanes with a run that could start, in the order of their turns.
    private var turns = Deque<Lane.Key>()
    /// By task id: queued, waiting for its plugin, or running. Such a task isn't queued again.
    private var held: [TaskID: Held] = [:]
    private var waiting: [TaskID: PlannedRun] = [:]
    /// The same by what they wait for, so that a change of one command asks for no other.
    private var waitingFor: [PluginCatalog.Question: Set<TaskID>] = [:]
    private var lastNumber = 0
    /// How often it was said that plugins have changed.
    private var catalogVersion = 0
    private var isLookingAgain = false
    private var looksAtAll = false
    private let withdrawn = WithdrawnTasks()
    /// Why tasks wait or have waited, as the log says it.
    private var reasons: [TaskID: String] = [:]
    /// Those that may be called at the same time, from the writing down of their start to the end of their call.
    private var running = 0
    /// Written down beyond these, so that the next call needn't wait for the disk.
    private var runningAhead = 0
    /// Called, and their results are being written down.
    private var recording = 0
    private var recordingBytes = 0
    private var isStopping = false
    private var isOutboxFull = false { didSet { isHoldingBack.store(isOutboxFull, ordering: .releasing) } }
    private let isHoldingBack = Atomic(false)
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
        /// Their order, of those that wait. No two have the same.
        let number: Int
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

        struct Entry {
            let run: PlannedRun
            let number: Int
        }

        /// Some may have been withdrawn or changed since; they are passed over, because to look for one would take as
        /// long as the queue is.
        var queue = Deque<Entry>()
        /// How many of these.
        var stale = 0
        var running = 0
        var runningAhead = 0
        var hasTurn = false
        var isQueueEmpty: Bool { queue.count == stale }

        /// How many one-offs more than are called at the same time may be written down, so that they share a sync of
        /// the disk and the plugin doesn't wait for it.
        var ahead = 0

        /// Work of little time and little output, going by the last call: what has its turn ahead can't be withdrawn
        /// any more.
        mutating func keepAhead(after outcome: Outcome) {
            let byTime = Dispatcher.aheadTime / max(outcome.duration, .nanoseconds(1))
            let bySize = Dispatcher.aheadBytes / max(outcome.size, 1)
            ahead = min(Int(min(byTime, 512)), bySize)
        }
    }

    private static let aheadTime = Duration.milliseconds(20)
    private static let aheadBytes = 256 << 10
    /// Runs in memory at the same time, between their queue and the outbox.
    private static let window = 1024
    /// Plugins that can't start anything which are asked at a time where no call may be added; they are asked in turn.
    private static let scanLimit = 64

    /// - Parameters:
    ///   - workers: how many runs may be under way at the same time.
    ///   - concurrency: how many calls of a plugin may run at the same time.
    public init(
        parts: Parts, workers: Int, concurrency: @escaping @Sendable (PluginID) -> Int = { _ in 1 }, logger: Logger
    ) {
        self.parts = parts
        self.workers = workers
        self.concurrency = concurrency
        self.logger = logger
        (starts, startsContinuation) = AsyncStream.makeStream()
    }

    /// Changes how many runs may be under way at the same time.
    func setWorkers(_ count: Int) {
        workers = count
        admit()
    }

    // MARK: Queueing

    /// Queues a run unless its task is queued or running already.
    public func submit(_ run: PlannedRun) async {
        guard !isStopping else { return }
        if let known = held[run.task.key] {
            if let fireTime = run.scheduledFor {
                logger.warning(
                    "a fire time is passed over: the task is still queued or running",
                    metadata: ["task_id": "\(run.task.id)", "scheduled_for": "\(RFC3339.string(from: fireTime))"])
                return
            }
            // A one-off that was changed before its turn runs as it is now.
            guard !known.isRunning, known.run != run else { return }
            drop([run.task.key])
        }
        held[run.task.key] = newlyHeld(run)
        await enqueue(run)
    }

    private func newlyHeld(_ run: PlannedRun) -> Held {
        lastNumber += 1
        return Held(run: run, number: lastNumber, state: .waiting)
    }

    /// Drops what is queued and not running of tasks that the backend doesn't list any more, or not as that: a one-off
    /// that has become a schedule, or the reverse.
    ///
    /// Of what has been handed to the executor, one-offs that have not begun are taken back.
    public func withdraw(exceptOneOffs oneOffs: Set<TaskID>, schedules: Set<TaskID>) {
        withdrawn.replace(
            with: held.filter { id, held in held.isRunning && held.run.scheduledFor == nil && !oneOffs.contains(id) }
                .map(\.key))
        let gone = held.filter { id, held in
            !held.isRunning && !(held.run.scheduledFor == nil ? oneOffs : schedules).contains(id)
        }
        drop(Set(gone.keys))
        resumeIfIdle()
    }

    private func drop(_ taskIDs: Set<TaskID>) {
        for id in taskIDs {
            guard let known = held.removeValue(forKey: id) else { continue }
            reasons[id] = nil
            stopWaiting(known.run)
            guard case .queued(let key) = known.state, let lane = lanes[key] else { continue }
            lanes[key]?.stale += 1
            // Each is looked at once for each time that half of them have gone.
            guard lane.stale * 2 > lane.queue.count + 64 else { continue }
            lanes[key]?.queue.removeAll { entry in held[entry.run.task.key]?.number != entry.number }
            lanes[key]?.stale = 0
        }
    }

    private func startWaiting(_ run: PlannedRun) {
        waiting[run.task.key] = run
        waitingFor[run.question, default: []].insert(run.task.key)
    }

    private func stopWaiting(_ run: PlannedRun) {
        guard waiting.removeValue(forKey: run.task.key) != nil else { return }
        waitingFor[run.question]?.remove(run.task.key)
        if waitingFor[run.question]?.isEmpty == true { waitingFor[run.question] = nil }
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
        let changes = await parts.catalog.takeChanges()
        let questions = all || changes.isAll ? Array(waitingFor.keys) : questions(about: changes)
        guard !questions.isEmpty else { return }
        let settled = await parts.catalog.settled(among: questions)
        let runs = settled.lazy.flatMap { self.waitingFor[$0] ?? [] }
            .compactMap { id in self.held[id].map { (run: $0.run, number: $0.number) } }
            .sorted { $0.number < $1.number }
        for (run, _) in runs {
            // It may have been withdrawn or changed meanwhile.
            guard waiting[run.task.key] == run else { continue }
            await enqueue(run)
        }
    }

    /// What is waited for, of what has changed.
    private func questions(about changes: PluginCatalog.Changes) -> [PluginCatalog.Question] {
        var questions: Set<PluginCatalog.Question> = []
        for command in changes.commands {
            for awaitsUpdate in [false, true] {
                let question = PluginCatalog.Question(command: command, awaitsUpdate: awaitsUpdate)
                if waitingFor[question] != nil { questions.insert(question) }
            }
        }
        if !changes.owners.isEmpty {
            questions.formUnion(
                waitingFor.keys.filter { question in
                    changes.owners.contains { question.command.hasPrefix($0.rawValue + ".") }
                })
        }
        return Array(questions)
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
        guard !isStopping || inMemory > 0 else { return }
        await withCheckedContinuation { settledWaiters.append($0) }
    }

    /// Starts nothing more; what runs goes on.
    public func stopStarting() { isStopping = true }

    /// Whether runs are held back because the outbox is full. Answered without waiting for the actor.
    public nonisolated var holdsBack: Bool { isHoldingBack.load(ordering: .acquiring) }

    /// Starts what was held back while the outbox was full, if there is room now.
    public func outboxShrank() {
        guard isOutboxFull else { return }
        admit()
    }

    /// Counts a task that was rejected without having been handed in.
    public func countRejection() { tally.failed += 1 }

    /// The concurrency of plugins may be another from now on.
    public func concurrencyChanged() { admit() }

    /// The command of a task that is queued, waits or runs; nil for any other.
    func command(of task: TaskID) -> String? { held[task]?.run.task.command }

    /// Runs that wait for their plugin.
    public func waitingTasks() -> [String] { waiting.keys.sorted().map(\.text) }

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
            queued: max(0, held.count - waiting.count - inMemory), waitingCount: waiting.count,
            waiting: waiting.keys.min(limit) { $0 < $1 }.compactMap { waiting[$0] })
    }

    private func enqueue(_ run: PlannedRun) async {
        guard held[run.task.key]?.run == run else { return }
        let key: Lane.Key
        let version = catalogVersion
        // A schedule's time has come; it runs on what is there.
        switch await parts.catalog.resolve(run.task.command, awaitsUpdate: run.scheduledFor == nil) {
        case .run(let plugin, _): key = .plugin(plugin.id)
        case .reject: key = .none
        case .wait(let reason, let isLoading):
            // Its plugin may have come while this was asked, and nobody would look again.
            guard version == catalogVersion else { return await enqueue(run) }
            // Once; it is looked at again whenever plugins have changed.
            logger.log(
                level: isLoading || reasons.updateValue(reason, forKey: run.task.key) == reason ? .debug : .info,
                "a task waits for its plugin",
                metadata: ["task_id": "\(run.task.id)", "command": "\(run.task.command)", "reason": "\(reason)"])
            if held[run.task.key]?.run == run { startWaiting(run) }
            return
        }
        // It may have been withdrawn or changed meanwhile.
        guard held[run.task.key]?.run == run else { return }
        guard let number = held[run.task.key]?.number else { return }
        reasons[run.task.key] = nil
        stopWaiting(run)
        held[run.task.key]?.state = .queued(key)
        lanes[key, default: Lane()].queue.append(Lane.Entry(run: run, number: number))
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
        while inMemory < Self.window, !isStopping, running < workers || passedOver.count < Self.scanLimit,
            let key = turns.popFirst()
        {
            guard let run = firstQueued(key) else {
                lanes[key]?.hasTurn = false
                forgetIfDone(key)
                continue
            }
            guard let isAhead = mayStart(run, key) else {
                passedOver.append(key)
                continue
            }
            if case .terminated = startsContinuation.yield(run) {
                isStopping = true
                return
            }
            // In place: a copy of a lane is a copy of its queue.
            lanes[key]?.queue.removeFirst()
            if isAhead {
                lanes[key]?.runningAhead += 1
                runningAhead += 1
            } else {
                lanes[key]?.running += 1
                running += 1
            }
            turns.append(key)
            held[run.task.key]?.state = .running(key)
        }
        turns.append(contentsOf: passedOver)
    }

    private func firstQueued(_ key: Lane.Key) -> PlannedRun? {
        while let entry = lanes[key]?.queue.first {
            if held[entry.run.task.key]?.number == entry.number { return entry.run }
            lanes[key]?.queue.removeFirst()
            lanes[key]?.stale -= 1
        }
        return nil
    }

    /// Whether the run would be one ahead of its turn; nil where it must wait.
    private func mayStart(_ run: PlannedRun, _ key: Lane.Key) -> Bool? {
        guard let lane = lanes[key] else { return nil }
        if running < workers, lane.running < limit(of: key) { return false }
        // A schedule's run that is taken back has lost its time.
        return run.scheduledFor == nil && lane.running > 0 && lane.runningAhead < lane.ahead ? true : nil
    }

    private var inMemory: Int { running + runningAhead + recording }

    private func forgetIfDone(_ key: Lane.Key) {
        guard let lane = lanes[key], lane.isQueueEmpty, !lane.hasTurn else { return }
        if lane.running == 0 && lane.runningAhead == 0 { lanes[key] = nil }
    }

    /// What is there is kept however long the backend stays away; so there must be an end to what is added.
    private func hasRoomInOutbox() -> Bool {
        let wasFull = isOutboxFull
        noteOutbox()
        // A result that left the outbox before this was noted has told nobody.
        if isOutboxFull, !wasFull { noteOutbox() }
        if isOutboxFull { resumeIfIdle() }
        return !isOutboxFull
    }

    private func noteOutbox() {
        let limit = parts.outboxLimit()
        // Full until a tenth is free again, or every result that is delivered would end it and begin it anew.
        let mark = isOutboxFull ? limit - limit / 10 : limit
        let bytes = parts.journal.outboxBytes + recordingBytes
        let isFull = bytes >= mark && bytes > 0
        if isOutboxFull != isFull {
            isOutboxFull = isFull
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
    }

    private func recordingFailed() {
        unrecorded += 1
        resumeIfIdle()
    }

    private func recordingEnded() { unrecorded -= 1 }

    private func limit(of key: Lane.Key) -> Int {
        switch key {
        case .plugin(let id): concurrency(id)
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
        let execution = RunExecution(
            run: run, parts: parts, recorder: recorder, withdrawn: withdrawn, logger: logger)
        let ending: RunExecution.Ending
        let version = catalogVersion
        switch await execution.call() {
        case .called(let start, let outcome):
            // The next one may begin while this one's result is written down.
            leaveLane(of: run, after: outcome)
            let size = outcome.size
            recording += 1
            recordingBytes += size
            admit()
            ending = await execution.record(start, outcome)
            recording -= 1
            recordingBytes -= size
        case .ended(let end):
            leaveLane(of: run, after: nil)
            ending = end
        }
        switch ending {
        case .succeeded: tally.succeeded += 1
        case .failed: tally.failed += 1
        case .notRun, .postponed: break
        case .unrecorded: tally.failed += 1
        }
        held[run.task.key] = nil
        if case .postponed = ending {
            held[run.task.key] = newlyHeld(run)
            // Its plugin may be back by now, and nobody would look again.
            if version == catalogVersion { startWaiting(run) } else { await enqueue(run) }
        }
        admit()
        resumeIfIdle()
        if isStopping && inMemory == 0 {
            let waiters = settledWaiters
            settledWaiters.removeAll()
            for waiter in waiters { waiter.resume() }
        }
    }

    private func leaveLane(of run: PlannedRun, after outcome: Outcome?) {
        guard case .running(let key)? = held[run.task.key]?.state else { return }
        // One that was ahead takes its place, unless that would keep others from theirs for as long as there is a queue.
        let holdsPlace = (lanes[key]?.running ?? 0) > 0
        if let ahead = lanes[key]?.runningAhead, ahead > 0, !(holdsPlace && isAnotherWaiting) {
            lanes[key]?.runningAhead -= 1
            runningAhead -= 1
        } else {
            lanes[key]?.running -= 1
            running -= 1
        }
        if let outcome { lanes[key]?.keepAhead(after: outcome) }
        if lanes[key]?.isQueueEmpty == false { takeTurn(key) }
        forgetIfDone(key)
    }

    /// Whether a plugin has runs queued and none under way.
    private var isAnotherWaiting: Bool {
        turns.prefix(Self.scanLimit).contains { key in
            guard let lane = lanes[key] else { return false }
            return lane.running == 0 && lane.runningAhead == 0 && !lane.isQueueEmpty
        }
    }

    private var isIdle: Bool {
        // Where the journal can't be written, or the outbox is full, nothing comes of waiting.
        guard inMemory == unrecorded, !isLookingAgain else { return false }
        return unrecorded > 0 || isOutboxFull || held.count == waiting.count
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
            + (error?.traceback?.utf8.count ?? 0)
    }
}
