import AgentModel
import PythonEmbedding
import Threads

/// What the pool's threads do.
extension WorkerPool {
    func run(_ reference: WorkerReference, on attachment: borrowing PythonAttachment) {
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
                    case .ended(let instant, let stop, let following):
                        turn.job.handOver(stoppedBy: stop, endedAt: instant, gil: gil)
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
        case ended(at: ContinuousClock.Instant, stoppedBy: CallStop?, next: Turn?)
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
                worker.wake.wait()
                if worker.home == nil { idleShared.removeAll { $0 === worker } }
            }
        }
    }

    /// With the lock held: the worker gets nothing any more.
    func end(_ worker: Worker) {
        monitor.assertLocked()
        workers[worker.number] = nil
        if worker.home?.worker === worker { worker.home?.worker = nil }
    }

    /// The worker's thread has the GIL. Nil: the job was taken back or given up while it waited for it.
    private func begin(on worker: Worker) -> Turn? {
        let now = ContinuousClock.now
        return withLock {
            guard !worker.isAbandoned else {
                worker.leaveLane()
                return nil
            }
            guard let job = worker.running?.job else { return nil }
            worker.turnStart = now
            return begin(job, on: worker, at: now)
        }
    }

    /// With the lock held.
    private func begin(_ job: any Job, on worker: Worker, at now: ContinuousClock.Instant) -> Turn {
        monitor.assertLocked()
        var running = RunningJob(job: job, assignedAt: now, begunAt: now)
        if worker.home == nil { PluginThreads.add(worker.threadNumber, plugin: job.plugin.rawValue) }
        if let limit = stopsCalls && job.endsWithAgent ? .zero : job.timeLimit {
            let deadline = now.advanced(by: limit)
            running.nextStep = deadline
            // Mostly it has been armed for an earlier call and sleeps on: no system call then.
            if watchdogWake.map({ deadline < $0 }) ?? true {
                watchdogWake = deadline
                watchdogSignal.signal()
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
                worker.leaveLane()
                return .abandoned
            }
            let stop = worker.running?.stoppedBy
            worker.running = nil
            if job.needsPermit { permitsInUse -= 1 }
            let next = nextInLane(of: job, for: worker, at: now)
            placeReady()
            // It ends with the last job.
            if isStopped { watchdogSignal.signal() }
            return .ended(at: now, stoppedBy: stop, next: next)
        }
    }

    /// With the lock held: the lane's next jobs may run, the first of them on this worker where that is its place and
    /// no other plugin waits for too long.
    private func nextInLane(of job: any Job, for worker: Worker, at now: ContinuousClock.Instant) -> Turn? {
        monitor.assertLocked()
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
}
