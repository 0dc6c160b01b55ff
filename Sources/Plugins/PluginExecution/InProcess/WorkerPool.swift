import AgentModel
import DequeModule
import Foundation
import Glibc
import PythonEmbedding
import Threads

/// Threads that run jobs with the GIL, and the order in which the jobs get their turn.
///
/// Each loaded plugin has a thread of its own (``PluginHome``). Calls need one of so many permits (`workers`) beside
/// it; loading and shutting down need none, so that they wait for no call. A plugin that may run several calls at the
/// same time has them on shared threads while its own is busy.
///
/// A thread that has the GIL goes on with its plugin's next call without releasing it: CPython itself makes it yield
/// every few milliseconds while Python code runs. Unchecked because `mutex` guards everything that changes. The
/// mutex is held for moments only, and never while a thread waits for the GIL.
final class WorkerPool: @unchecked Sendable {
    /// How many threads of one plugin may be given up before it gets no more turns.
    static let stuckLimit = 3
    /// How long a plugin's thread goes on with its calls while those of others wait for a permit.
    private static let turn = Duration.milliseconds(1)

    let interpreter: PythonInterpreter
    let policy: TimeLimitPolicy
    let events: ExecutorEvents

    let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    let watchdogSignal = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    /// Calls whose turn has come in their lane, and that wait for a permit.
    private var ready = Deque<any Job>()
    private var idleShared: [Worker] = []
    var workers: [UInt64: Worker] = [:]
    private var lastWorkerNumber: UInt64 = 0
    private let workerCount: Int
    private let workerLimit: Int
    /// Permits that there are, and those in use.
    private(set) var capacity: Int
    private var permitsInUse = 0
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
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // The wall clock may be set while the watchdog sleeps.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(watchdogSignal, &attributes)
        pthread_condattr_destroy(&attributes)
        try Watchdog(pool: self).start()
    }

    deinit {
        pthread_cond_destroy(watchdogSignal)
        pthread_mutex_destroy(mutex)
        watchdogSignal.deallocate()
        mutex.deallocate()
    }

    func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    // MARK: Submitting

    enum Refusal {
        case stopped
        /// Too many of the plugin's calls could not be stopped and still sit on threads that were given up.
        case stuck
    }

    /// Queues a job, or says why not.
    func submit(_ job: any Job) -> Refusal? {
        withLock { () -> Refusal? in
            if isStopped || isClosed || stopsCalls && job.endsWithAgent { return .stopped }
            if let lane = job.lane {
                if lane.stuck >= Self.stuckLimit { return .stuck }
                guard lane.admit(job, runsAlone: job.runsAlone) else { return nil }
            }
            place(job)
            return nil
        }
    }

    /// With the lock held: nothing begins any more. Returns everything that has not, to be refused.
    func close() -> [any Job] {
        isClosed = true
        return takeBackAll { _ in true }
    }

    /// With the lock held: takes back what has not begun, as far as it is asked for.
    private func takeBackAll(_ isWanted: (any Job) -> Bool) -> [any Job] {
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
            for worker in workers.values { pthread_cond_signal(worker.wake) }
            wakeWatchdog()
        }
    }

    /// Lets a version's thread end once it has nothing to do.
    func retire(_ home: PluginHome) {
        withLock {
            home.isRetired = true
            if let worker = home.worker { pthread_cond_signal(worker.wake) }
        }
    }

    /// With the lock held.
    private func wakeWatchdog() {
        watchdogWake = .now
        pthread_cond_signal(watchdogSignal)
    }

    // MARK: Giving work to threads

    /// With the lock held: a job that has its lane's place gets a thread, or waits for a permit.
    private func place(_ job: any Job) {
        if job.needsPermit && permitsInUse >= capacity {
            ready.append(job)
        } else {
            give(job)
        }
    }

    /// With the lock held: as many of those that wait as there are permits for.
    func placeReady() {
        // One for which there is no thread is put back.
        for _ in 0..<ready.count {
            guard !isClosed, permitsInUse < capacity, let job = ready.popFirst() else { return }
            give(job)
        }
    }

    /// With the lock held. Where no thread can be made the job waits, and the watchdog tries again.
    private func give(_ job: any Job) {
        guard !isClosed, let worker = thread(for: job.takeHome()) else {
            ready.append(job)
            return
        }
        if job.needsPermit { permitsInUse += 1 }
        worker.running = RunningJob(job: job, assignedAt: .now)
        pthread_cond_signal(worker.wake)
        // It looks after the interpreter while somebody waits for it.
        let beat = ContinuousClock.now.advanced(by: policy.beat)
        if watchdogWake.map({ beat < $0 }) ?? true {
            watchdogWake = beat
            pthread_cond_signal(watchdogSignal)
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
        lastWorkerNumber += 1
        let worker = Worker(number: lastWorkerNumber, home: home)
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

    // MARK: On the threads

    private func run(_ reference: WorkerReference, on attachment: borrowing PythonAttachment) {
        let threadID = attachment.threadID
        let interpreter = interpreter
        let threadNumber = PythonInterpreter.currentThreadNumber
        withLock { reference.worker.threadNumber = threadNumber }
        if let home = reference.worker.home { PluginThreads.add(threadNumber, plugin: home.plugin.rawValue) }
        defer { PluginThreads.remove(threadNumber) }
        let slot: CallSlot
        do throws(PythonEmbeddingError) {
            slot = try attachment.withGIL { gil throws(PythonEmbeddingError) in
                try CallSlot(interpreter: interpreter, threadID: threadID, gil: gil)
            }
        } catch {
            let job = withLock { () -> (any Job)? in
                let job = reference.worker.running?.job
                end(reference.worker)
                if let job { ended(job) }
                return job
            }
            job?.refuse()
            return
        }
        withLock { reference.worker.slot = slot }
        while waitForTurn(reference.worker) {
            attachment.withGIL { [self] gil in
                var next = begin(on: reference.worker)
                while let turn = next {
                    turn.job.run(on: slot, startedAt: turn.startedAt, gil: gil)
                    switch finish(turn.job, on: reference.worker) {
                    case .ended(let instant, let step, let following):
                        turn.job.handOver(stoppedBy: step, endedAt: instant, gil: gil)
                        next = following
                    case .abandoned:
                        turn.job.discard(gil: gil)
                        next = nil
                    }
                }
            }
        }
        attachment.withGIL { gil in slot.close(gil: gil) }
    }

    /// A job whose turn on a worker has come.
    private struct Turn {
        let job: any Job
        let startedAt: ContinuousClock.Instant
    }

    private enum End {
        case ended(at: ContinuousClock.Instant, stoppedBy: StopStep?, next: Turn?)
        /// The watchdog has reported it.
        case abandoned
    }

    /// Waits, without the GIL, for a job of this worker. False: end the thread.
    private func waitForTurn(_ worker: Worker) -> Bool {
        withLock {
            while true {
                if worker.isAbandoned { return false }
                if worker.running != nil { return true }
                if isStopped || worker.home?.isRetired == true {
                    end(worker)
                    return false
                }
                if worker.home == nil { idleShared.append(worker) }
                pthread_cond_wait(worker.wake, mutex)
                if worker.home == nil { idleShared.removeAll { $0 === worker } }
            }
        }
    }

    /// With the lock held: the worker gets nothing any more.
    private func end(_ worker: Worker) {
        workers[worker.number] = nil
        if worker.home?.worker === worker { worker.home?.worker = nil }
    }

    /// The worker's thread has the GIL. Nil: the job was taken back or given up while it waited for it.
    private func begin(on worker: Worker) -> Turn? {
        let now = ContinuousClock.now
        return withLock {
            guard !worker.isAbandoned else {
                worker.abandonedLane?.stuck -= 1
                return nil
            }
            guard let job = worker.running?.job else { return nil }
            worker.turnStart = now
            return begin(job, on: worker, at: now)
        }
    }

    /// With the lock held.
    private func begin(_ job: any Job, on worker: Worker, at now: ContinuousClock.Instant) -> Turn {
        var running = RunningJob(job: job, assignedAt: now, begunAt: now)
        if worker.home == nil { PluginThreads.add(worker.threadNumber, plugin: job.plugin.rawValue) }
        if let limit = stopsCalls && job.endsWithAgent ? .zero : job.timeLimit {
            let deadline = now.advanced(by: limit)
            running.nextStep = deadline
            // Mostly it has been armed for an earlier call and sleeps on: no system call then.
            if watchdogWake.map({ deadline < $0 }) ?? true {
                watchdogWake = deadline
                pthread_cond_signal(watchdogSignal)
            }
        }
        worker.running = running
        return Turn(job: job, startedAt: now)
    }

    /// Takes the job off the worker and gives it its plugin's next one.
    private func finish(_ job: any Job, on worker: Worker) -> End {
        let now = ContinuousClock.now
        return withLock {
            guard !worker.isAbandoned else {
                job.lane?.stuck -= 1
                return .abandoned
            }
            let step = worker.running?.stoppedBy
            worker.running = nil
            if job.needsPermit { permitsInUse -= 1 }
            let next = nextInLane(of: job, for: worker, at: now)
            placeReady()
            // It ends with the last job.
            if isStopped { pthread_cond_signal(watchdogSignal) }
            return .ended(at: now, stoppedBy: step, next: next)
        }
    }

    /// With the lock held: the lane's next jobs may run, the first of them on this worker where that is its place and
    /// no other plugin waits for too long.
    private func nextInLane(of job: any Job, for worker: Worker, at now: ContinuousClock.Instant) -> Turn? {
        guard let lane = job.lane else { return nil }
        lane.release()
        var turn: Turn?
        // More than one may have been waiting for a place: the number allowed can have been raised meanwhile.
        while let next = lane.admitNext() {
            guard turn == nil, next.needsPermit, permitsInUse < capacity,
                ready.isEmpty || worker.turnStart.duration(to: now) < Self.turn
            else {
                append(next)
                continue
            }
            let home = next.takeHome()
            guard home === worker.home || home?.worker?.running != nil && worker.home == nil else {
                append(next)
                continue
            }
            permitsInUse += 1
            turn = begin(next, on: worker, at: now)
        }
        return turn
    }

    /// With the lock held: behind those that wait for a permit already.
    private func append(_ job: any Job) {
        if job.needsPermit { ready.append(job) } else { give(job) }
    }

    /// With the lock held: a job has left its thread.
    private func ended(_ job: any Job) {
        if job.needsPermit { permitsInUse -= 1 }
        advanceLane(of: job)
        placeReady()
    }

    /// With the lock held: the lane's next jobs may run.
    private func advanceLane(of job: any Job) {
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
        guard let running = worker.running else { return nil }
        worker.isAbandoned = true
        worker.abandonedLane = running.job.lane
        worker.running = nil
        end(worker)
        running.job.lane?.stuck += 1
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
