import PythonEmbedding

/// One thread of the executor, as the pool sees it. Everything is guarded by the pool's lock.
final class Worker {
    let number: UInt64
    /// Set once, by its own thread, before it asks for work.
    var slot: CallSlot?
    var running: RunningJob?
    /// Given up: its call's outcome has been reported without it, and it ends with the call.
    var isAbandoned = false

    init(number: UInt64) {
        self.number = number
    }
}

/// A job on a worker, and how far the watchdog has gone with it.
struct RunningJob {
    enum Stage {
        case running
        case asked
        case injected
    }

    let job: any Job
    let startedAt: ContinuousClock.Instant
    var stage = Stage.running
    /// When the watchdog has something to do; nil for never.
    var nextStep: ContinuousClock.Instant?
    /// Whether that is only how long the interpreter may keep us waiting: its answer is the other thing to wait for.
    var awaitsInterpreter = false

    /// The step that a call which has just ended was at.
    var stoppedBy: StopStep? {
        switch stage {
        case .running: nil
        case .asked: .asked
        case .injected: .injected
        }
    }
}
