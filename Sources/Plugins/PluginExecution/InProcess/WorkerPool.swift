import AgentModel
import DequeModule
import Foundation
import PythonEmbedding
import Threads

/// Threads that run jobs with the GIL, and the order in which the jobs get their turn.
///
/// Each loaded plugin has a thread of its own (``PluginHome``). Calls need one of so many permits (`workers`) beside
/// it; loading and shutting down need none, so that they wait for no call. A plugin that may run several calls at the
/// same time has them on shared threads while its own is busy.
///
/// A thread that has the GIL goes on with its plugin's next call without releasing it: CPython itself makes it yield
/// every few milliseconds while Python code runs. Unchecked because `monitor` guards everything that changes. Its
/// lock is held for moments only, and never while a thread waits for the GIL.
final class WorkerPool: @unchecked Sendable {
    // More than a dozen properties: one state under one lock; what has a state of its own (lanes, workers, running jobs) is in types of its own.
    /// How many threads of one plugin may be given up before it gets no more turns.
    static let stuckLimit = 3
    /// How long a plugin's thread goes on with its calls while those of others wait for a permit.
    static let turn = Duration.milliseconds(1)

    let interpreter: PythonInterpreter
    let policy: TimeLimitPolicy
    let events: ExecutorEvents

    let monitor = Monitor()
    let watchdogSignal: Condition

    /// Calls whose turn has come in their lane, and that wait for a permit.
    var ready = Deque<any Job>()
    var idleShared: [Worker] = []
    var workers: [UInt64: Worker] = [:]
    private var lastWorkerNumber: UInt64 = 0
    private let workerCount: Int
    private let workerLimit: Int
    /// Permits that there are, and those in use.
    private(set) var capacity: Int
    var permitsInUse = 0
    private(set) var isStopped = false
    private(set) var stopsCalls = false
    /// The executor is being shut down: nobody is to wait for long any more.
    private(set) var isShuttingDown = false
    /// The interpreter is wedged.
    private(set) var isClosed = false
    /// When the watchdog looks next; nil while it sleeps without an end.
    var watchdogWake: ContinuousClock.Instant?
    var hold: InterpreterHold?
    /// How many calls wait in the kernel that are under way elsewhere, and for so long at least.
    private(set) var countWaitingElsewhere: @Sendable (Duration) -> Int = { _ in 0 }

    /// - Parameters:
    ///   - count: permits.
    ///   - limit: permits at most, where calls wait in the kernel.
    /// - Throws: `PythonEmbeddingError` when no thread can be made.
    init(
        interpreter: PythonInterpreter, workers count: Int, limit: Int, policy: TimeLimitPolicy,
        events: ExecutorEvents
    ) throws(PythonEmbeddingError) {
        self.interpreter = interpreter
        self.policy = policy
        self.events = events
        workerCount = max(1, count)
        workerLimit = max(limit, workerCount)
        capacity = workerCount
        watchdogSignal = Condition(of: monitor)
        try Watchdog(pool: self).start()
    }

    func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        try monitor.withLock(body)
    }

    // MARK: Submitting

    enum Refusal {
        case stopped
        /// Too many of the plugin's calls could not be stopped and still sit on threads that were given up; where they are.
        case stuck([String])
    }

    /// Queues a job, or says why not.
    func submit(_ job: any Job) -> Refusal? {
        withLock { () -> Refusal? in
            if isStopped || isClosed || stopsCalls && job.endsWithAgent { return .stopped }
            if let lane = job.lane {
                if lane.stuck.count >= Self.stuckLimit {
                    return .stuck(lane.stuck.values.filter { !$0.isEmpty }.sorted())
                }
                guard lane.admit(job, runsAlone: job.runsAlone) else { return nil }
            }
            place(job)
            return nil
        }
    }

    /// With the lock held: nothing begins any more. Returns everything that has not, to be refused.
    func close() -> [any Job] {
        monitor.assertLocked()
        isClosed = true
        return takeBackAll { _ in true }
    }

    /// With the lock held: takes back what has not begun, as far as it is asked for.
    private func takeBackAll(_ isWanted: (any Job) -> Bool) -> [any Job] {
        monitor.assertLocked()
        var taken: [any Job] = []
        var hasMore = true
        // The next of a lane moves up when one is taken.
        while hasMore {
            hasMore = false
            for worker in Array(workers.values) {
                guard let running = worker.running, running.begunAt == nil, isWanted(running.job) else { continue }
                worker.running = nil
                ended(running.job)
                taken.append(running.job)
                hasMore = true
            }
            let waiting = ready
            ready = []
            for job in waiting {
                guard isWanted(job) else {
                    ready.append(job)
                    continue
                }
                advanceLane(of: job)
                taken.append(job)
                hasMore = true
            }
        }
        return taken
    }

    func setConcurrency(_ concurrency: Int, of lane: JobLane) {
        withLock {
            lane.concurrency = concurrency
            while let next = lane.admitNext() { place(next) }
        }
    }

    /// From now on the time limit of every job that ends with the agent has passed. What has not begun is taken back.
    func stopCalls() {
        let refused = withLock {
            stopsCalls = true
            let now = ContinuousClock.now
            let refused = takeBackAll { $0.endsWithAgent }
            for worker in workers.values {
                guard let running = worker.running, running.job.endsWithAgent, case .running = running.stage else {
                    continue
                }
                worker.running?.nextStep = now
            }
            wakeWatchdog()
            return refused
        }
        for job in refused { job.refuse() }
    }

    /// The time limit of a run's call has passed, unless it has already.
    func cancel(_ runID: String) {
        withLock {
            for worker in workers.values {
                guard let running = worker.running, running.job.runID == runID, running.begunAt != nil,
                    case .running = running.stage
                else { continue }
                running.job.cancellation?.begin()
                // Where it waits for the interpreter its time doesn't count, and is added to this.
                worker.running?.nextStep = running.pausedSince ?? .now
                wakeWatchdog()
            }
        }
    }

    /// A run's call tells what it writes.
    func observe(_ runID: String) {
        let call = withLock { () -> (slot: CallSlot, job: UInt64, relay: OutputRelay)? in
            let worker = worker(ofRun: runID)
            guard let running = worker?.running, let slot = worker?.slot, let relay = running.job.relay else {
                return nil
            }
            return (slot, running.job.id, relay)
        }
        guard let call, let observer = call.relay.observer else { return }
        interpreter.enqueue { gil in call.slot.observe(call.job, observer, gil: gil) }
    }

    /// The place where a run's call is under way, and the call's number; nil where none is.
    func place(ofRun runID: String) -> (slot: CallSlot, job: UInt64)? {
        withLock {
            let worker = worker(ofRun: runID)
            guard let slot = worker?.slot, let job = worker?.running?.job.id else { return nil }
            return (slot, job)
        }
    }

    /// With the lock held: where a run's call is under way.
    private func worker(ofRun runID: String) -> Worker? {
        monitor.assertLocked()
        return workers.values.first { $0.running?.job.runID == runID && $0.running?.begunAt != nil }
    }

    /// An interpreter that doesn't answer is waited for only shortly from now on.
    func beginShutdown() {
        withLock {
            isShuttingDown = true
            wakeWatchdog()
        }
    }

    /// Lets the threads end once nothing is ready. Jobs that wait are run first.
    func stop() {
        withLock {
            isStopped = true
            for worker in workers.values { worker.wake.signal() }
            wakeWatchdog()
        }
    }

    /// Lets a version's thread end once it has nothing to do.
    func retire(_ home: PluginHome) {
        withLock {
            home.isRetired = true
            if let worker = home.worker { worker.wake.signal() }
        }
    }

    /// With the lock held.
    private func wakeWatchdog() {
        monitor.assertLocked()
        watchdogWake = .now
        watchdogSignal.signal()
    }

    // MARK: Giving work to threads

    /// With the lock held: a job that has its lane's place gets a thread, or waits for a permit.
    private func place(_ job: any Job) {
        monitor.assertLocked()
        if job.needsPermit && permitsInUse >= capacity {
            ready.append(job)
        } else {
            give(job)
        }
    }

    /// With the lock held: as many of those that wait as there are permits for.
    func placeReady() {
        monitor.assertLocked()
        // One for which there is no thread is put back.
        for _ in 0..<ready.count {
            guard !isClosed, permitsInUse < capacity, let job = ready.popFirst() else { return }
            give(job)
        }
    }

    /// With the lock held. Where no thread can be made the job waits, and the watchdog tries again.
    private func give(_ job: any Job) {
        monitor.assertLocked()
        guard !isClosed, let worker = thread(for: job.takeHome()) else {
            ready.append(job)
            return
        }
        if job.needsPermit { permitsInUse += 1 }
        worker.running = RunningJob(job: job, assignedAt: .now)
        worker.wake.signal()
        // It looks after the interpreter while somebody waits for it.
        let beat = ContinuousClock.now.advanced(by: policy.beat)
        if watchdogWake.map({ beat < $0 }) ?? true {
            watchdogWake = beat
            watchdogSignal.signal()
        }
    }

    private func thread(for home: PluginHome?) -> Worker? {
        if let home {
            if let worker = home.worker, worker.running == nil { return worker }
            if home.worker == nil {
                home.worker = makeWorker(for: home)
                return home.worker
            }
        }
        return idleShared.popLast() ?? makeWorker(for: nil)
    }

    /// With the lock held. Nil where there is no thread to be had.
    private func makeWorker(for home: PluginHome?) -> Worker? {
        monitor.assertLocked()
        lastWorkerNumber += 1
        let worker = Worker(number: lastWorkerNumber, home: home, monitor: monitor)
        let reference = WorkerReference(worker: worker)
        do throws(PythonEmbeddingError) {
            try interpreter.startThread(name: "python-\(worker.number)") { [self] attachment in
                run(reference, on: attachment)
            }
        } catch {
            return nil
        }
        workers[worker.number] = worker
        return worker
    }

    // MARK: The ends of jobs

    /// With the lock held: behind those that wait for a permit already.
    func append(_ job: any Job) {
        monitor.assertLocked()
        if job.needsPermit { ready.append(job) } else { give(job) }
    }

    /// With the lock held: a job has left its thread.
    func ended(_ job: any Job) {
        monitor.assertLocked()
        if job.needsPermit { permitsInUse -= 1 }
        advanceLane(of: job)
        placeReady()
    }

    /// With the lock held: the lane's next jobs may run.
    private func advanceLane(of job: any Job) {
        monitor.assertLocked()
        guard let lane = job.lane else { return }
        lane.release()
        while let next = lane.admitNext() { append(next) }
    }

    /// Who holds a thread, longest first.
    func use(at now: ContinuousClock.Instant) -> ExecutorUse {
        withLock {
            let date = Date()
            let uses = workers.values.compactMap { worker -> WorkerUse? in
                guard let running = worker.running else { return nil }
                let state: WorkerUse.State =
                    running.begunAt == nil ? .notBegun : running.isWaiting ? .waiting : .running
                let since = running.begunAt ?? running.assignedAt
                return WorkerUse(
                    plugin: running.job.plugin, runID: running.job.runID, kind: running.job.kind, state: state,
                    since: date.addingTimeInterval(-since.duration(to: now).seconds))
            }
            return ExecutorUse(workers: capacity, uses: uses.sorted { $0.since < $1.since }, hold: hold)
        }
    }

    // MARK: For the watchdog

    /// With the lock held: takes the worker out of service and returns the job to report. Its plugin gets another
    /// thread with its next job.
    func abandon(_ worker: Worker) -> RunningJob? {
        monitor.assertLocked()
        guard let running = worker.running else { return nil }
        worker.isAbandoned = true
        worker.abandonedLane = running.job.lane
        worker.running = nil
        end(worker)
        running.job.lane?.stuck[worker.number] = running.stack ?? ""
        ended(running.job)
        return running
    }

    /// - Parameter count: called with the lock held.
    func setCountWaitingElsewhere(_ count: @escaping @Sendable (Duration) -> Int) {
        withLock { countWaitingElsewhere = count }
    }

    /// With the lock held: so many calls wait in the kernel, and others may take their places.
    /// - Returns: how many may run at the same time now, where that has changed.
    func setWaiting(_ count: Int) -> Int? {
        monitor.assertLocked()
        let new = min(workerLimit, workerCount + count)
        guard new != capacity else { return nil }
        capacity = new
        placeReady()
        return new
    }
}

/// Carries a worker to its thread. Unchecked because the pool's lock guards what is in it.
struct WorkerReference: @unchecked Sendable {
    let worker: Worker
}
