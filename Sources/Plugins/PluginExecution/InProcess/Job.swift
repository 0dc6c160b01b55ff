import AgentModel
import PythonEmbedding

/// A piece of work for a worker: a call, a load, a shutdown.
///
/// It ends in exactly one of ``handOver(stoppedBy:endedAt:gil:)``, ``abandon(_:)`` and ``refuse()``; the pool decides
/// which under its lock.
protocol Job: AnyObject, Sendable {
    /// Never used twice.
    var id: UInt64 { get }
    var plugin: PluginID { get }
    /// The run that it is a call of.
    var runID: String? { get }
    /// Whether that run is to be stopped.
    var cancellation: Cancellation? { get }
    /// Who wants to know what that run writes.
    var relay: OutputRelay? { get }
    var kind: WorkerUse.Kind { get }
    /// Jobs of one lane run one at a time, or as many as the plugin allows.
    var lane: JobLane? { get }
    var timeLimit: Duration? { get }
    /// Whether no other job of its lane may run beside it.
    var runsAlone: Bool { get }
    /// Whether it is stopped with the agent; otherwise it has its own time.
    var endsWithAgent: Bool { get }

    /// Where it runs, decided when it is given to a thread; nil for any thread. Called with the pool's lock held.
    func takeHome() -> PluginHome?
    /// Does the work, on the worker's thread.
    func run(on slot: CallSlot, startedAt: ContinuousClock.Instant, gil: borrowing GIL)
    /// Resumes whoever waits, on the worker's thread and after ``run(on:startedAt:gil:)``. By then the pool knows
    /// what runs next: who learns of this end may count on that.
    func handOver(stoppedBy stop: CallStop?, endedAt: ContinuousClock.Instant, gil: borrowing GIL)
    /// Resumes whoever waits, on the watchdog's thread, while the work goes on somewhere.
    func abandon(_ abandonment: Abandonment)
    /// Resumes whoever waits for a job that has not begun.
    func refuse()
    /// Takes down what the work made, when it ends after it was given up.
    func discard(gil: borrowing GIL)
}

/// How a call was stopped.
struct CallStop {
    var step: StopStep
    /// Where it was in its code before that, as far as it is known.
    var stack: String?
}

/// Why and when a job is reported without its end.
struct Abandonment {
    let stop: CallStop
    let duration: Duration
    /// Whether its own time limit has passed.
    var isPastLimit = true
    /// What holds the interpreter, in words, where that is known.
    var holder: String?
}

typealias JobLane = Lane<any Job>

extension Job {
    var runID: String? { nil }
    var cancellation: Cancellation? { nil }
    var relay: OutputRelay? { nil }
    var endsWithAgent: Bool { true }
    /// Calls share the `workers`; loading and shutting down wait for none of them.
    var needsPermit: Bool { kind == .call }
}
