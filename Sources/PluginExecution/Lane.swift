import DequeModule

/// The calls of one plugin, of which only so many run at the same time, in the order they came. Unchecked because the
/// pool's lock guards it.
final class Lane: @unchecked Sendable {
    var concurrency: Int
    /// Calls that could not be stopped and go on, on threads that were given up.
    var stuck = 0
    private var running = 0
    private var isReserved = false
    private var waiting = Deque<any Job>()

    init(concurrency: Int) {
        self.concurrency = concurrency
    }

    /// Whether the job may run now; otherwise it waits behind those that came earlier.
    func admit(_ job: any Job) -> Bool {
        guard waiting.isEmpty, start(job) else {
            waiting.append(job)
            return false
        }
        return true
    }

    /// A job that ran has ended, or was given up. Call ``admitNext()`` until it returns nil.
    func release() {
        running -= 1
        isReserved = false
    }

    /// The job that may run now, if there is one.
    func admitNext() -> (any Job)? {
        guard let first = waiting.first, start(first) else { return nil }
        return waiting.popFirst()
    }

    private func start(_ job: any Job) -> Bool {
        guard !isReserved, running < (job.runsAlone ? 1 : concurrency) else { return false }
        running += 1
        isReserved = job.runsAlone
        return true
    }
}
