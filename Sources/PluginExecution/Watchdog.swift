import Glibc
import PythonEmbedding
import Synchronization

/// Stops calls that go past their time limit. Its thread never waits for the GIL: it sends what needs it to the
/// interpreter's control thread, and notices when that doesn't answer.
struct Watchdog {
    let pool: WorkerPool

    func start() throws(PythonEmbeddingError) {
        let pool = pool
        // Without a place in the interpreter: it must work while the GIL is held for ever.
        try PythonInterpreter.startPlainThread(name: "watchdog") { Watchdog(pool: pool).run() }
    }

    /// What to do once the lock is released.
    private enum Action {
        case ask(CallSlot, job: UInt64)
        case inject(CallSlot, job: UInt64)
        case report(RunningJob, StopStep)
        case refuse(any Job)
        case startWorker
        case endProcess
    }

    private func run() {
        var probe = InterpreterProbe()
        while let actions = waitForActions(&probe) {
            for action in actions { perform(action, &probe) }
        }
    }

    /// Nil: the pool has stopped and nothing runs any more.
    private func waitForActions(_ probe: inout InterpreterProbe) -> [Action]? {
        pool.withLock { () -> [Action]? in
            while true {
                let now = ContinuousClock.now
                let actions = dueActions(at: now, &probe)
                pool.watchdogWake = pool.workers.values.compactMap { $0.running?.nextStep }.min()
                if !actions.isEmpty { return actions }
                if pool.isStopped && pool.workers.values.allSatisfy({ $0.running == nil }) { return nil }
                sleep(until: pool.watchdogWake, now: now)
            }
        }
    }

    /// With the lock held.
    private func dueActions(at now: ContinuousClock.Instant, _ probe: inout InterpreterProbe) -> [Action] {
        var actions: [Action] = []
        for worker in pool.workers.values {
            guard let running = worker.running, let step = running.nextStep, let slot = worker.slot,
                step <= now || running.awaitsInterpreter && probe.isAnswered
            else { continue }
            switch running.stage {
            case .running:
                worker.running?.stage = .asked
                worker.running?.nextStep = now.advanced(by: pool.policy.askGrace)
                actions.append(.ask(slot, job: running.job.id))
            case .asked:
                worker.running?.stage = .injected
                worker.running?.nextStep = now.advanced(by: pool.policy.injectGrace)
                actions.append(.inject(slot, job: running.job.id))
            case .injected:
                switch probe.state(at: now, grace: pool.policy.interpreterGrace) {
                case .answering:
                    if let job = pool.abandon(worker) { actions += [.report(job, .threadAbandoned), .startWorker] }
                case .silent(let limit):
                    // Another thread would wait for the GIL as this one does. The answer wakes us before the limit.
                    worker.running?.nextStep = limit
                    worker.running?.awaitsInterpreter = true
                case .wedged:
                    // Their lanes move up, so that what waits is all in one place after that.
                    let running = pool.workers.values.compactMap(pool.abandon).map { Action.report($0, .processEnded) }
                    return running + pool.close().map { .refuse($0) } + [.endProcess]
                }
            }
        }
        return actions
    }

    private func perform(_ action: Action, _ probe: inout InterpreterProbe) {
        switch action {
        case .ask(let slot, let job):
            probe.send(to: pool) { gil in slot.requestStop(of: job, gil: gil) }
        case .inject(let slot, let job):
            // Mostly it waits for one of them, and then returns by itself.
            if let programs = slot.programs(of: job) { ProgramEnd.begin(programs) }
            probe.send(to: pool) { gil in slot.inject(into: job, gil: gil) }
        case .report(let running, let step):
            running.job.abandon(at: step, after: running.startedAt.duration(to: .now))
        case .refuse(let job):
            job.refuse()
        case .startWorker:
            pool.replaceWorker()
        case .endProcess:
            ProgramEnd.endAll()
            pool.onWedged()
        }
    }

    /// With the lock held, which is released meanwhile.
    private func sleep(until wake: ContinuousClock.Instant?, now: ContinuousClock.Instant) {
        guard let wake else {
            pthread_cond_wait(pool.watchdogSignal, pool.mutex)
            return
        }
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let (seconds, attoseconds) = now.duration(to: wake).components
        time.tv_sec += Int(seconds)
        // Up to the next nanosecond, or it would wake a moment too early and once again.
        time.tv_nsec += Int(attoseconds / 1_000_000_000) + 1
        if time.tv_nsec >= 1_000_000_000 {
            time.tv_sec += 1
            time.tv_nsec -= 1_000_000_000
        }
        pthread_cond_timedwait(pool.watchdogSignal, pool.mutex, &time)
    }
}

/// Whether the control thread still gets the GIL.
struct InterpreterProbe {
    enum State {
        case answering
        /// It hasn't answered yet, and has until then.
        case silent(until: ContinuousClock.Instant)
        case wedged
    }

    private final class Answers: Sendable {
        let last = Atomic<UInt64>(0)
    }

    private let answers = Answers()
    private var lastSent: UInt64 = 0
    /// When the oldest message was sent that may be unanswered.
    private var waitingSince: ContinuousClock.Instant?

    /// Has work done on the control thread, which wakes the pool's watchdog when it has done it.
    mutating func send(to pool: WorkerPool, _ work: @escaping @Sendable (borrowing GIL) -> Void) {
        lastSent += 1
        if waitingSince == nil || isAnswered { waitingSince = .now }
        let number = lastSent
        pool.interpreter.enqueue { [answers] gil in
            work(gil)
            answers.last.store(number, ordering: .releasing)
            // Under the lock, or the watchdog could miss it between its look and its sleep.
            pool.withLock { _ = pthread_cond_signal(pool.watchdogSignal) }
        }
    }

    mutating func state(at now: ContinuousClock.Instant, grace: Duration) -> State {
        guard !isAnswered, let waitingSince else {
            waitingSince = nil
            return .answering
        }
        let limit = waitingSince.advanced(by: grace)
        return now < limit ? .silent(until: limit) : .wedged
    }

    var isAnswered: Bool { answers.last.load(ordering: .acquiring) == lastSent }
}
