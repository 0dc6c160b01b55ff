import PythonEmbedding

/// A piece of work for a worker: a call, a load, a shutdown.
///
/// It ends in exactly one of ``handOver(stoppedBy:endedAt:gil:)`` and ``abandon(at:after:)``; the pool decides which
/// under its lock.
protocol Job: AnyObject, Sendable {
    /// Never used twice.
    var id: UInt64 { get }
    /// Jobs of one lane run one at a time, or as many as the plugin allows; nil runs as soon as a worker is free.
    var lane: JobLane? { get }
    var timeLimit: Duration? { get }
    /// Whether no other job of its lane may run beside it.
    var runsAlone: Bool { get }
    /// Whether it is stopped with the agent; otherwise it has its own time.
    var endsWithAgent: Bool { get }

    /// Does the work, on the worker's thread.
    func run(on slot: CallSlot, startedAt: ContinuousClock.Instant, gil: borrowing GIL)
    /// Resumes whoever waits, on the worker's thread and after ``run(on:startedAt:gil:)``. By then the pool knows
    /// what runs next: who learns of this end may count on that.
    func handOver(stoppedBy step: StopStep?, endedAt: ContinuousClock.Instant, gil: borrowing GIL)
    /// Resumes whoever waits, on the watchdog's thread, while the work goes on somewhere.
    func abandon(at step: StopStep, after duration: Duration)
    /// Resumes whoever waits for a job that was never given to a worker, on the watchdog's thread.
    func refuse()
    /// Takes down what the work made, when it ends after it was given up.
    func discard(gil: borrowing GIL)
}

typealias JobLane = Lane<any Job>

extension Job {
    var endsWithAgent: Bool { true }
}
