import AgentModel
import DequeModule

/// The runs that the agent holds, from when they are due until they are over, and whose turn it is.
///
/// The plugins take turns, so that a backlog of one keeps no other waiting. That no more of a plugin's calls run at a time
/// than may is the executor's to see to (`Lane`): what is started here waits for its turn there, written down already.
///
/// A value without a clock and without I/O: it is told what happens and says what is to be started.
struct RunQueue: Sendable {
    // More than a dozen properties: the state of one algorithm.
    /// The runs that have their turns together.
    enum Group: Hashable, Sendable {
        case plugin(PluginID)
        /// Runs that will be rejected.
        case rejected
    }

    /// A run whose turn has come.
    struct Start: Sendable, Equatable {
        let run: PlannedRun
        /// Whether it is written down ahead of its call, beyond those that may be called at the same time.
        let isAhead: Bool
    }

    /// What becomes of a run that is handed in.
    enum Admission: Sendable {
        /// It is held from now on, or in place of what its task was before.
        case held
        /// Its task is held already.
        case known
        /// It is a fire time of a schedule whose last run is not over.
        case overlaps
    }

    /// Runs in memory at the same time, between their queue and the outbox.
    static let window = 1024
    /// Plugins that can't start anything which are asked at a time where no call may be added; they are asked in turn.
    static let scanLimit = 64

    /// How many runs may be under way at the same time.
    var workers: Int
    private let concurrency: @Sendable (PluginID) -> Int

    private var lines: [Group: Line] = [:]
    /// Groups with a run that could start, in the order of their turns.
    private var turns = Deque<Group>()
    /// By task: queued, waiting for its plugin, or running. Such a task isn't queued again.
    private var held: [TaskID: Held] = [:]
    private var waiting: [TaskID: PlannedRun] = [:]
    /// The same by what they wait for, so that a change of one command asks for no other.
    private var waitingFor: [PluginCatalog.Question: Set<TaskID>] = [:]
    private var lastNumber = 0
    /// Those that may be called at the same time, from the writing down of their start to the end of their call.
    private var running = 0
    /// Written down beyond these, so that the next call needn't wait for the disk.
    private var runningAhead = 0
    /// Called, and their results are being written down.
    private var recording = 0
    /// Bytes of these results.
    private(set) var recordingBytes = 0

    private struct Held: Sendable {
        enum State: Sendable {
            case queued(Group)
            case waiting
            case running(Group)
        }

        var run: PlannedRun
        /// Their order, of those that wait. No two have the same.
        let number: Int
        var state = State.waiting
        /// Why it waits, as it was said.
        var reason: String?

        var isRunning: Bool { if case .running = state { true } else { false } }
    }

    /// - Parameters:
    ///   - workers: how many runs may be under way at the same time.
    ///   - concurrency: how many calls of a plugin may run at the same time.
    init(workers: Int, concurrency: @escaping @Sendable (PluginID) -> Int = { _ in 1 }) {
        self.workers = workers
        self.concurrency = concurrency
    }

    // MARK: Looking

    /// Runs that were started and are not over.
    var inMemory: Int { running + runningAhead + recording }
    var waitingCount: Int { waiting.count }
    /// Runs whose turn has not come.
    var queuedCount: Int { max(0, held.count - waiting.count - inMemory) }
    /// Whether nothing is queued or running.
    var holdsOnlyWaiting: Bool { held.count == waiting.count }
    var hasTurns: Bool { !turns.isEmpty }

    /// Whether the task is held as this run, and not as another by now.
    func holds(_ run: PlannedRun) -> Bool { held[run.task.key]?.run == run }

    /// The same, and that its turn has not come.
    private func isBeforeItsTurn(_ run: PlannedRun) -> Bool {
        guard let known = held[run.task.key], known.run == run else { return false }
        return !known.isRunning
    }

    func isWaiting(_ run: PlannedRun) -> Bool { waiting[run.task.key] == run }

    /// The command of a task that is queued, waits or runs; nil for any other.
    func command(of task: TaskID) -> String? { held[task]?.run.task.command }

    /// Those that wait for their plugin, the first by task id.
    ///
    /// - Parameter limit: of a few; nil for all.
    func waitingRuns(limit: Int? = nil) -> [PlannedRun] {
        let tasks = limit.map { limit in waiting.keys.min(limit) { $0 < $1 } } ?? waiting.keys.sorted()
        return tasks.compactMap { waiting[$0] }
    }

    // MARK: Coming and going

    /// Holds a run, unless its task is held already. One that was changed before its turn takes the place of what it was.
    mutating func hold(_ run: PlannedRun) -> Admission {
        if let known = held[run.task.key] {
            if run.scheduledFor != nil { return .overlaps }
            guard !known.isRunning, known.run != run else { return .known }
            drop([run.task.key])
        }
        add(run)
        return .held
    }

    private mutating func add(_ run: PlannedRun) {
        lastNumber += 1
        held[run.task.key] = Held(run: run, number: lastNumber)
    }

    /// Drops what is not running of tasks that aren't listed any more, or not as that: a one-off that has become a
    /// schedule, or the reverse.
    ///
    /// - Returns: the one-offs that run and aren't listed any more.
    mutating func withdraw(exceptOneOffs oneOffs: Set<TaskID>, schedules: Set<TaskID>) -> [TaskID] {
        let gone = held.filter { id, held in
            !held.isRunning && !(held.run.scheduledFor == nil ? oneOffs : schedules).contains(id)
        }
        drop(Set(gone.keys))
        return held.filter { id, held in held.isRunning && held.run.scheduledFor == nil && !oneOffs.contains(id) }
            .map(\.key)
    }

    private mutating func drop(_ taskIDs: Set<TaskID>) {
        for id in taskIDs {
            guard let known = held.removeValue(forKey: id) else { continue }
            stopWaiting(known.run)
            guard case .queued(let group) = known.state, let line = lines[group] else { continue }
            lines[group]?.stale += 1
            // Each is looked at once for each time that half of them have gone.
            guard line.stale * 2 > line.entries.count + 64 else { continue }
            lines[group]?.entries.removeAll { entry in held[entry.run.task.key]?.number != entry.number }
            lines[group]?.stale = 0
        }
    }

    /// Takes a one-off out of its queue, or from waiting for its plugin, to have its turn at once: it calls nothing.
    ///
    /// - Returns: nil where it is not held, or has had its turn.
    mutating func startAtOnce(_ task: TaskID) -> PlannedRun? {
        guard let known = held[task], !known.isRunning, known.run.scheduledFor == nil else { return nil }
        drop([task])
        add(known.run)
        held[task]?.state = .running(.rejected)
        lines[.rejected, default: Line()].running += 1
        running += 1
        return known.run
    }

    // MARK: Waiting for a plugin

    /// Puts a run aside that is held, until what it asks the catalog has another answer.
    ///
    /// - Returns: whether that reason was not said of it before.
    mutating func wait(_ run: PlannedRun, reason: String? = nil) -> Bool {
        guard isBeforeItsTurn(run) else { return false }
        waiting[run.task.key] = run
        waitingFor[run.question, default: []].insert(run.task.key)
        guard let reason, held[run.task.key]?.reason != reason else { return false }
        held[run.task.key]?.reason = reason
        return true
    }

    private mutating func stopWaiting(_ run: PlannedRun) {
        guard waiting.removeValue(forKey: run.task.key) != nil else { return }
        waitingFor[run.question]?.remove(run.task.key)
        if waitingFor[run.question]?.isEmpty == true { waitingFor[run.question] = nil }
    }

    /// What is waited for, of what has changed; all of it where nil.
    func questions(about changes: PluginCatalog.Changes?) -> [PluginCatalog.Question] {
        guard let changes, !changes.isAll else { return Array(waitingFor.keys) }
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

    /// The runs that wait for one of these, in the order in which they came.
    func runs(waitingFor questions: some Sequence<PluginCatalog.Question>) -> [PlannedRun] {
        let tasks: [TaskID] = questions.flatMap { waitingFor[$0] ?? [] }
        let found: [Held] = tasks.compactMap { held[$0] }
        return found.sorted { $0.number < $1.number }.map(\.run)
    }

    // MARK: Turns

    /// Lines a run up that is held and that there is a plugin for.
    mutating func queue(_ run: PlannedRun, in group: Group) {
        guard let number = held[run.task.key]?.number, isBeforeItsTurn(run) else { return }
        stopWaiting(run)
        held[run.task.key]?.reason = nil
        held[run.task.key]?.state = .queued(group)
        lines[group, default: Line()].entries.append(Line.Entry(run: run, number: number))
        takeTurn(group)
    }

    private mutating func takeTurn(_ group: Group) {
        guard lines[group]?.hasTurn == false else { return }
        lines[group]?.hasTurn = true
        turns.append(group)
    }

    /// Takes as many runs out of the queue as there is room for, the plugins taking turns.
    mutating func admit() -> [Start] {
        var starts: [Start] = []
        var passedOver: [Group] = []
        while inMemory < Self.window, running < workers || passedOver.count < Self.scanLimit,
            let group = turns.popFirst()
        {
            guard let run = firstQueued(group) else {
                lines[group]?.hasTurn = false
                forgetIfDone(group)
                continue
            }
            guard let isAhead = mayStart(run, group) else {
                passedOver.append(group)
                continue
            }
            // In place: a copy of a line is a copy of its entries.
            lines[group]?.entries.removeFirst()
            if isAhead {
                lines[group]?.runningAhead += 1
                runningAhead += 1
            } else {
                lines[group]?.running += 1
                running += 1
            }
            turns.append(group)
            held[run.task.key]?.state = .running(group)
            starts.append(Start(run: run, isAhead: isAhead))
        }
        turns.append(contentsOf: passedOver)
        return starts
    }

    private mutating func firstQueued(_ group: Group) -> PlannedRun? {
        while let entry = lines[group]?.entries.first {
            if held[entry.run.task.key]?.number == entry.number { return entry.run }
            lines[group]?.entries.removeFirst()
            lines[group]?.stale -= 1
        }
        return nil
    }

    /// Whether the run would be one ahead of its turn; nil where it must wait.
    private func mayStart(_ run: PlannedRun, _ group: Group) -> Bool? {
        guard let line = lines[group] else { return nil }
        if running < workers, line.running < limit(of: group) { return false }
        // A schedule's run that is taken back has lost its time.
        return run.scheduledFor == nil && line.running > 0 && line.runningAhead < line.ahead ? true : nil
    }

    private func limit(of group: Group) -> Int {
        switch group {
        case .plugin(let id): concurrency(id)
        case .rejected: workers
        }
    }

    private mutating func forgetIfDone(_ group: Group) {
        guard let line = lines[group], line.isEmpty, !line.hasTurn else { return }
        if line.running == 0 && line.runningAhead == 0 { lines[group] = nil }
    }

    // MARK: Ends

    /// The call of a run has ended, or there was none: its place is another's.
    ///
    /// - Parameter cost: what the call took; nil where there was none.
    mutating func leave(_ run: PlannedRun, after cost: Cost?) {
        guard case .running(let group)? = held[run.task.key]?.state else { return }
        // One that was ahead takes its place, unless that would keep others from theirs for as long as there is a queue.
        let holdsPlace = (lines[group]?.running ?? 0) > 0
        if let ahead = lines[group]?.runningAhead, ahead > 0, !(holdsPlace && isAnotherWaiting) {
            lines[group]?.runningAhead -= 1
            runningAhead -= 1
        } else {
            lines[group]?.running -= 1
            running -= 1
        }
        if let cost { lines[group]?.ahead = cost.runsAhead }
        if lines[group]?.isEmpty == false { takeTurn(group) }
        forgetIfDone(group)
    }

    /// Whether a plugin has runs queued and none under way.
    private var isAnotherWaiting: Bool {
        turns.prefix(Self.scanLimit).contains { group in
            guard let line = lines[group] else { return false }
            return line.running == 0 && line.runningAhead == 0 && !line.isEmpty
        }
    }

    /// The result of a call, of so many bytes, is being written down.
    mutating func beginRecording(_ size: Int) {
        recording += 1
        recordingBytes += size
    }

    mutating func endRecording(_ size: Int) {
        recording -= 1
        recordingBytes -= size
    }

    /// The run is over.
    ///
    /// - Parameter isHeldAgain: it has not run, and is to have its turn once its plugin is back.
    mutating func finish(_ run: PlannedRun, isHeldAgain: Bool = false) {
        held[run.task.key] = nil
        if isHeldAgain { add(run) }
    }
}

extension RunQueue {
    /// What a call took.
    struct Cost: Sendable {
        var duration: Duration
        /// Bytes of its texts.
        var size: Int

        private static let timeAhead = Duration.milliseconds(20)
        private static let bytesAhead = 256 << 10
        private static let mostAhead = 512.0

        /// How many such runs may be written down ahead of their call, so that they share a sync of the disk and the
        /// plugin doesn't wait for it. Those of little time and little output: what has its turn ahead can't be withdrawn
        /// any more.
        var runsAhead: Int {
            let byTime = Self.timeAhead / max(duration, .nanoseconds(1))
            return min(Int(min(byTime, Self.mostAhead)), Self.bytesAhead / max(size, 1))
        }
    }

    /// The runs of one group, which are called one at a time unless configured otherwise.
    private struct Line: Sendable {
        struct Entry: Sendable {
            let run: PlannedRun
            let number: Int
        }

        /// Some may have been withdrawn or changed since; they are passed over, because to look for one would take as
        /// long as the queue is.
        var entries = Deque<Entry>()
        /// How many of these.
        var stale = 0
        var running = 0
        var runningAhead = 0
        var hasTurn = false
        /// How many one-offs more than are called at the same time may be written down.
        var ahead = 0

        var isEmpty: Bool { entries.count == stale }
    }
}
