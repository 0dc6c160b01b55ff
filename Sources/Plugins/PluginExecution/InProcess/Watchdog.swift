import AgentModel
import Foundation
import Glibc
import PythonEmbedding
import Threads

/// Stops calls that go past their time limit, and notices when the interpreter is held.
///
/// Its thread never waits for the GIL: it sends what needs it to the interpreter's control thread. While that doesn't
/// answer, another thread holds the GIL; the processor time of the threads tells which (``ThreadSample``). The time of
/// calls that can't be the holder doesn't count then. The process ends when what may be the holder is past its own
/// limit, or when it is no call that has begun.
struct Watchdog {
    let pool: WorkerPool

    func start() throws(PythonEmbeddingError) {
        let pool = pool
        // Without a place in the interpreter: it must work while the GIL is held for ever.
        try PythonInterpreter.startPlainThread(name: "watchdog") { Watchdog(pool: pool).run() }
    }

    /// What to do once the lock is released.
    private enum Action {
        case probe
        case ask(Worker, CallSlot, job: UInt64)
        case inject(Worker, CallSlot, job: UInt64)
        case report(RunningJob, on: CallSlot?, StopStep, isPastLimit: Bool, holder: String?)
        case refuse(any Job)
        case tellHold(InterpreterHold?)
        case tellWorkers(Int)
        case endProcess
    }

    private func run() {
        var probe = InterpreterProbe()
        while let actions = waitForActions(&probe) {
            // All calls that are reported now are looked for in one dump.
            var dump: StackDump??
            for action in actions { perform(action, &probe, &dump) }
        }
    }

    /// Nil: the pool has stopped and nothing runs any more.
    private func waitForActions(_ probe: inout InterpreterProbe) -> [Action]? {
        pool.withLock { () -> [Action]? in
            while true {
                let now = ContinuousClock.now
                let actions = dueActions(at: now, &probe)
                if !actions.isEmpty { return actions }
                if pool.isStopped && pool.workers.values.allSatisfy({ $0.running == nil }) { return nil }
                let isBusy = pool.workers.values.contains { $0.running != nil }
                let steps = pool.workers.values.compactMap {
                    $0.running?.pausedSince == nil ? $0.running?.nextStep : nil
                }
                let beat = now.advanced(by: isBusy || !probe.isAnswered ? pool.policy.beat : pool.policy.idleBeat)
                pool.watchdogWake = steps.filter { $0 > now }.reduce(beat, min)
                sleep(until: pool.watchdogWake, now: now)
            }
        }
    }

    // MARK: With the lock held

    private func dueActions(at now: ContinuousClock.Instant, _ probe: inout InterpreterProbe) -> [Action] {
        var actions: [Action] = []
        if pool.isClosed { return actions }
        if probe.isAnswered {
            resumeCounting(at: probe.answeredAt ?? now)
            probe.forgetSamples()
            if pool.hold != nil {
                pool.hold = nil
                actions.append(.tellHold(nil))
            }
            if probe.isDue(at: now, every: pool.policy.beat) {
                actions.append(.probe)
                let waiting = countWaiting(at: now) + pool.countWaitingElsewhere(pool.policy.kernelGrace)
                if let workers = pool.setWaiting(waiting) { actions.append(.tellWorkers(workers)) }
                pool.placeReady()
            }
        } else if let end = watchHold(at: now, &probe, &actions) {
            return end
        }
        for worker in pool.workers.values {
            guard let running = worker.running, running.begunAt != nil, running.pausedSince == nil,
                let step = running.nextStep, let slot = worker.slot, step <= now
            else { continue }
            switch running.stage {
            case .running:
                worker.running?.stage = .asked
                worker.running?.nextStep = now.advanced(by: pool.policy.askGrace)
                actions.append(.ask(worker, slot, job: running.job.id))
            case .asked:
                worker.running?.stage = .injected
                worker.running?.nextStep = now.advanced(by: pool.policy.injectGrace)
                actions.append(.inject(worker, slot, job: running.job.id))
            case .injected:
                // While it doesn't answer another thread would wait for the GIL as this one does: `watchHold` decides.
                guard probe.isAnswered else { continue }
                if let job = pool.abandon(worker) {
                    actions.append(.report(job, on: slot, .threadAbandoned, isPastLimit: true, holder: nil))
                }
            }
        }
        return actions
    }

    /// The interpreter doesn't answer. Returns what ends the process, where it has to.
    private func watchHold(
        at now: ContinuousClock.Instant, _ probe: inout InterpreterProbe, _ actions: inout [Action]
    ) -> [Action]? {
        let silence = probe.silence(at: now)
        guard silence >= pool.policy.beat / 2, let suspects = probe.suspects(at: now, in: pool, every: pool.policy.beat)
        else { return nil }
        for worker in pool.workers.values {
            guard let running = worker.running, let begun = running.begunAt else { continue }
            let isSuspect = suspects.includes(worker)
            if !isSuspect && running.pausedSince == nil {
                worker.running?.pausedSince = max(begun, probe.sentAt ?? now)
            } else if isSuspect, let since = running.pausedSince {
                // It was taken for one that waits, and its time counts from here on.
                resume(worker, since: since, until: now)
            }
        }
        let hold = suspects.hold(in: pool, since: Date(timeIntervalSinceNow: -silence.seconds))
        if silence >= pool.policy.interpreterGrace / 3, pool.hold.map({ $0.isOther(than: hold) }) ?? true {
            pool.hold = hold
            actions.append(.tellHold(hold))
        }
        let holders = pool.workers.values.filter { $0.running?.begunAt != nil && suspects.includes($0) }
        let grace = pool.policy.grace(isStopping: pool.stopsCalls || pool.isShuttingDown, isCall: !holders.isEmpty)
        guard silence >= grace else { return nil }
        guard holders.isEmpty || pool.stopsCalls || holders.contains(where: { isPastLimit($0, at: now) }) else {
            return nil
        }
        return endActions(hold: hold, holders: holders, at: now) + actions
    }

    /// Everything that was done to stop it has had its time.
    private func isPastLimit(_ worker: Worker, at now: ContinuousClock.Instant) -> Bool {
        guard let running = worker.running, running.stage == .injected, let step = running.nextStep else {
            return false
        }
        return step <= now
    }

    private func endActions(
        hold: InterpreterHold, holders: [Worker], at now: ContinuousClock.Instant
    ) -> [Action] {
        var end: [Action] = pool.hold.map { $0.isOther(than: hold) } ?? true ? [.tellHold(hold)] : []
        // Before their lanes move up.
        let refused = pool.close()
        for worker in Array(pool.workers.values) {
            let isPast = holders.contains { $0 === worker } && isPastLimit(worker, at: now)
            guard let job = pool.abandon(worker) else { continue }
            end.append(
                .report(
                    job, on: worker.slot, .processEnded, isPastLimit: isPast,
                    holder: hold.plugin == nil ? nil : hold.holder))
        }
        end += (refused + pool.close()).map { .refuse($0) }
        end.append(.endProcess)
        return end
    }

    /// The interpreter answers: the time of the calls that waited for it counts again.
    private func resumeCounting(at now: ContinuousClock.Instant) {
        for worker in pool.workers.values {
            if let since = worker.running?.pausedSince { resume(worker, since: since, until: now) }
        }
    }

    private func resume(_ worker: Worker, since: ContinuousClock.Instant, until now: ContinuousClock.Instant) {
        guard var running = worker.running else { return }
        running.pausedSince = nil
        running.nextStep = running.nextStep?.advanced(by: max(.zero, since.duration(to: now)))
        if running.hasSkippedStep {
            // It is told to stop when its own time is over.
            running.hasSkippedStep = false
            running.stage = .running
            running.nextStep = now.advanced(by: pool.policy.askGrace)
        }
        worker.running = running
    }

    /// How many calls wait in the kernel: their threads have used no processor since the watchdog last looked.
    private func countWaiting(at now: ContinuousClock.Instant) -> Int {
        var count = 0
        for worker in pool.workers.values {
            guard let running = worker.running, running.job.needsPermit, let begun = running.begunAt,
                begun.duration(to: now) >= pool.policy.kernelGrace
            else { continue }
            let time = ThreadSample.processorTime(of: worker.threadNumber)
            let before = running.processorTime
            worker.running?.processorTime = time
            if let time, let before { worker.running?.isWaiting = time - min(before, time) < 10_000_000 }
            if worker.running?.isWaiting == true { count += 1 }
        }
        return count
    }

    /// With the lock held, which is released meanwhile.
    private func sleep(until wake: ContinuousClock.Instant?, now: ContinuousClock.Instant) {
        guard let wake else { return pool.watchdogSignal.wait() }
        pool.watchdogSignal.wait(until: pool.watchdogSignal.end(in: now.duration(to: wake)))
    }

    // MARK: Without it

    /// - Parameter dump: where all threads are; made when it is first needed.
    private func perform(_ action: Action, _ probe: inout InterpreterProbe, _ dump: inout StackDump??) {
        switch action {
        case .probe:
            probe.send(to: pool) { _ in }
        case .ask(let worker, let slot, let job):
            let reference = WorkerReference(worker: worker)
            probe.send(to: pool) { [pool] gil in
                guard Self.mayStop(reference, job, pool) else { return }
                let stack = slot.stack(of: job, gil: gil)
                pool.withLock {
                    if reference.worker.running?.job.id == job { reference.worker.running?.stack = stack }
                }
                slot.requestStop(of: job, gil: gil)
            }
        case .inject(let worker, let slot, let job):
            let reference = WorkerReference(worker: worker)
            // A call that waits for a program it started returns by itself when that is ended.
            if Self.mayStop(reference, job, pool), let programs = slot.programs(of: job) { ProgramEnd.begin(programs) }
            probe.send(to: pool) { [pool] gil in
                if Self.mayStop(reference, job, pool) { slot.inject(into: job, gil: gil) }
            }
        case .report(let running, let slot, let step, let isPastLimit, let holder):
            let duration = (running.begunAt ?? running.assignedAt).duration(to: .now)
            // Who holds the GIL now does so for good: nobody tells with it where the call is.
            var stack = running.stack
            if stack == nil, isPastLimit, let slot {
                let threads = dump ?? ThreadStacks.dump()
                dump = threads
                stack = threads?.text(of: slot)
            }
            running.job.abandon(
                Abandonment(
                    stop: CallStop(step: step, stack: stack), duration: duration, isPastLimit: isPastLimit,
                    holder: holder))
        case .refuse(let job):
            job.refuse()
        case .tellHold(let hold):
            pool.events.onHold(hold)
        case .tellWorkers(let count):
            pool.events.onWorkers(count)
        case .endProcess:
            ProgramEnd.endAll()
            // Nobody waits for anything of the interpreter any more then.
            if !pool.withLock({ pool.isShuttingDown }) { pool.events.onWedged() }
        }
    }

    /// Whether a step that had to wait for the GIL is still to be taken: not against a call that waited for it too.
    private static func mayStop(_ reference: WorkerReference, _ job: UInt64, _ pool: WorkerPool) -> Bool {
        pool.withLock {
            guard let running = reference.worker.running, running.job.id == job else { return false }
            guard running.pausedSince != nil else { return true }
            reference.worker.running?.hasSkippedStep = true
            return false
        }
    }
}

extension InterpreterHold {
    /// Whether the other names another holder, and not only none.
    func isOther(than other: InterpreterHold) -> Bool {
        guard other.plugin != nil || other.thread != nil else { return false }
        return plugin != other.plugin || runID != other.runID || thread != other.thread
    }
}
