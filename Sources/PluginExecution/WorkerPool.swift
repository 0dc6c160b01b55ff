import DequeModule
import Glibc
import PythonEmbedding

/// Threads that run jobs with the GIL, and the order in which the jobs get their turn.
///
/// A worker that has the GIL goes on with the next ready job without releasing it: CPython itself makes it yield
/// every few milliseconds while Python code runs. Unchecked because `mutex` guards everything that changes. The
/// mutex is held for moments only, and never while a thread waits for the GIL.
final class WorkerPool: @unchecked Sendable {
    /// How many threads of one plugin may be given up before it gets no more turns.
    static let stuckLimit = 3

    let interpreter: PythonInterpreter
    let policy: TimeLimitPolicy
    /// Called on the watchdog's thread when the interpreter is wedged, after all that runs has been reported.
    let onWedged: @Sendable () -> Void

    let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let workAvailable = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    let watchdogSignal = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    private var ready = Deque<any Job>()
    private var idleWorkers = 0
    var workers: [UInt64: Worker] = [:]
    private var lastWorkerNumber: UInt64 = 0
    private(set) var isStopped = false
    private(set) var stopsCalls = false
    /// The interpreter is wedged.
    private var isClosed = false
    /// When the watchdog looks next; nil while it sleeps without an end.
    var watchdogWake: ContinuousClock.Instant?

    /// - Throws: `PythonEmbeddingError` when no thread can be made.
    init(
        interpreter: PythonInterpreter, workers count: Int, policy: TimeLimitPolicy,
        onWedged: @escaping @Sendable () -> Void
    ) throws(PythonEmbeddingError) {
        self.interpreter = interpreter
        self.policy = policy
        self.onWedged = onWedged
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(workAvailable, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // The wall clock may be set while the watchdog sleeps.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(watchdogSignal, &attributes)
        pthread_condattr_destroy(&attributes)
        do throws(PythonEmbeddingError) {
            let started = BlockingQueue<PythonEmbeddingError?>()
            for _ in 0..<max(1, count) { try startWorker { started.push($0) } }
            for _ in 0..<max(1, count) {
                if let error = started.pop() { throw error }
            }
            try Watchdog(pool: self).start()
        } catch {
            // Or those that did start would wait for ever.
            stop()
            throw error
        }
    }

    deinit {
        pthread_cond_destroy(workAvailable)
        pthread_cond_destroy(watchdogSignal)
        pthread_mutex_destroy(mutex)
        workAvailable.deallocate()
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
        let (refusal, wakes) = withLock { () -> (Refusal?, Bool) in
            if isStopped || isClosed { return (.stopped, false) }
            if let lane = job.lane {
                if lane.stuck >= Self.stuckLimit { return (.stuck, false) }
                guard lane.admit(job, runsAlone: job.runsAlone) else { return (nil, false) }
            }
            ready.append(job)
            return (nil, idleWorkers > 0)
        }
        if wakes { pthread_cond_signal(workAvailable) }
        return refusal
    }

    /// With the lock held: nothing is given to a worker any more. Returns everything that waits, to be refused.
    func close() -> [any Job] {
        isClosed = true
        var waiting: [any Job] = []
        while let job = ready.popFirst() {
            waiting.append(job)
            // The next of its lane moves up.
            advanceLane(of: job)
        }
        return waiting
    }

    func setConcurrency(_ concurrency: Int, of lane: JobLane) {
        withLock { lane.concurrency = concurrency }
    }

    /// From now on the time limit of every job that ends with the agent has passed.
    func stopCalls() {
        withLock {
            stopsCalls = true
            let now = ContinuousClock.now
            for worker in workers.values {
                guard let running = worker.running, running.job.endsWithAgent, case .running = running.stage else {
                    continue
                }
                worker.running?.nextStep = now
            }
            watchdogWake = now
        }
        pthread_cond_signal(watchdogSignal)
    }

    /// Lets the workers end once nothing is ready. Jobs that wait are run first.
    func stop() {
        withLock { isStopped = true }
        pthread_cond_broadcast(workAvailable)
        pthread_cond_signal(watchdogSignal)
    }

    // MARK: Workers

    /// - Parameter started: called on the new thread when it is ready for work, or can't be.
    /// - Throws: `PythonEmbeddingError` when there is no thread.
    func startWorker(
        started: @escaping @Sendable (PythonEmbeddingError?) -> Void
    ) throws(PythonEmbeddingError) {
        let worker = withLock {
            lastWorkerNumber += 1
            let worker = Worker(number: lastWorkerNumber)
            workers[worker.number] = worker
            return WorkerReference(worker: worker)
        }
        do throws(PythonEmbeddingError) {
            try interpreter.startThread(name: "python-\(worker.worker.number)") { [self] attachment in
                run(worker, on: attachment, started: started)
            }
        } catch {
            withLock { workers[worker.worker.number] = nil }
            throw error
        }
    }

    /// Makes up for a worker that was given up. Where that can't be done the pool goes on with those it has; without
    /// any, the process is as good as wedged.
    func replaceWorker() {
        let failed: @Sendable (PythonEmbeddingError?) -> Void = { [self] error in
            if error != nil && withLock({ workers.isEmpty }) { onWedged() }
        }
        do throws(PythonEmbeddingError) {
            try startWorker(started: failed)
        } catch {
            failed(error)
        }
    }

    private func run(
        _ reference: WorkerReference, on attachment: borrowing PythonAttachment,
        started: @Sendable (PythonEmbeddingError?) -> Void
    ) {
        let threadID = attachment.threadID
        let interpreter = interpreter
        let slot: CallSlot
        do throws(PythonEmbeddingError) {
            slot = try attachment.withGIL { gil throws(PythonEmbeddingError) in
                try CallSlot(interpreter: interpreter, threadID: threadID, gil: gil)
            }
        } catch {
            withLock { workers[reference.worker.number] = nil }
            return started(error)
        }
        withLock { reference.worker.slot = slot }
        started(nil)
        while let first = waitForTurn(reference.worker) {
            attachment.withGIL { [self] gil in
                // It may have been reported as given up while this thread waited for the GIL.
                if withLock({ reference.worker.isAbandoned }) {
                    _ = finish(first.job, on: reference.worker)
                    return
                }
                var next: Turn? = first
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
        withLock { workers[reference.worker.number] = nil }
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

    /// Waits, without the GIL, for a job of this worker. Nil: end the thread.
    private func waitForTurn(_ worker: Worker) -> Turn? {
        withLock {
            while true {
                if worker.isAbandoned { return nil }
                if let turn = takeReady(for: worker, at: nil) { return turn }
                if isStopped { return nil }
                idleWorkers += 1
                pthread_cond_wait(workAvailable, mutex)
                idleWorkers -= 1
            }
        }
    }

    /// Takes the job off the worker and gives it the next one that is ready.
    private func finish(_ job: any Job, on worker: Worker) -> End {
        let now = ContinuousClock.now
        return withLock {
            guard !worker.isAbandoned else {
                job.lane?.stuck -= 1
                return .abandoned
            }
            let step = worker.running?.stoppedBy
            worker.running = nil
            advanceLane(of: job)
            // It ends with the last job.
            if isStopped { pthread_cond_signal(watchdogSignal) }
            return .ended(at: now, stoppedBy: step, next: takeReady(for: worker, at: now))
        }
    }

    /// With the lock held. `now` is given where the clock has just been read.
    private func takeReady(for worker: Worker, at now: ContinuousClock.Instant?) -> Turn? {
        guard let job = ready.popFirst() else { return nil }
        let now = now ?? .now
        var running = RunningJob(job: job, startedAt: now)
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

    /// With the lock held: the lane's next jobs may run.
    private func advanceLane(of job: any Job) {
        guard let lane = job.lane else { return }
        lane.release()
        // More than one may have been waiting for a place: the number allowed can have been raised meanwhile.
        while let next = lane.admitNext() {
            ready.append(next)
            // The worker that ended the job takes the first one itself.
            if idleWorkers > 0 && ready.count > 1 { pthread_cond_signal(workAvailable) }
        }
    }

    /// With the lock held: takes the worker out of service and returns the job to report.
    func abandon(_ worker: Worker) -> RunningJob? {
        guard let running = worker.running else { return nil }
        worker.isAbandoned = true
        worker.running = nil
        workers[worker.number] = nil
        running.job.lane?.stuck += 1
        advanceLane(of: running.job)
        // This worker is gone, and another may be asleep.
        pthread_cond_signal(workAvailable)
        return running
    }
}

/// Carries a worker to its thread. Unchecked because the pool's lock guards what is in it.
struct WorkerReference: @unchecked Sendable {
    let worker: Worker
}
