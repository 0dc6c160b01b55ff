import AgentModel
import PythonEmbedding
import Threads

/// One thread of the executor, as the pool sees it. Everything is guarded by the pool's lock.
final class Worker {
    let number: UInt64
    /// Whose thread it is; nil for one that serves every plugin that has more calls than its own thread can take.
    let home: PluginHome?
    /// Signalled when there is something for this thread to do.
    let wake: Condition
    /// What the kernel calls the thread (gettid(2)); 0 until it runs.
    var threadNumber: Int32 = 0
    /// Set once, by its own thread, before it asks for work.
    var slot: CallSlot?
    var running: RunningJob?
    /// Since when it has gone from one job to the next.
    var turnStart = ContinuousClock.Instant.now
    /// Given up: its call's outcome has been reported without it, and it ends with the call.
    var isAbandoned = false
    /// Of the job it was given up with.
    var abandonedLane: JobLane?

    /// The job that it was given up with has ended after all.
    func leaveLane() { abandonedLane?.stuck[number] = nil }

    /// - Parameter monitor: the pool's.
    init(number: UInt64, home: PluginHome?, monitor: Monitor) {
        self.number = number
        self.home = home
        wake = Condition(of: monitor)
    }
}

/// The thread of one loaded version of a plugin: it is loaded, called and shut down there, so that what is bound to a
/// thread (a connection of sqlite3, `threading.local`) goes on to work. Everything is guarded by the pool's lock.
final class PluginHome: @unchecked Sendable {
    let plugin: PluginID
    /// Nil before the first job, and after the thread was given up: the next job gets another.
    var worker: Worker?
    /// Its thread ends when it has nothing to do.
    var isRetired = false

    init(plugin: PluginID) {
        self.plugin = plugin
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
    /// When it was given to its thread.
    let assignedAt: ContinuousClock.Instant
    /// When its thread had the GIL for the first time; nil while it waits for it. Its time limit counts from here.
    var begunAt: ContinuousClock.Instant?
    var stage = Stage.running
    /// When the watchdog has something to do; nil for never.
    var nextStep: ContinuousClock.Instant?
    /// Since when its time doesn't count, because another thread holds the GIL.
    var pausedSince: ContinuousClock.Instant?
    /// A step that was due was left out because of that.
    var hasSkippedStep = false
    /// Processor time of the thread when the watchdog last looked, in nanoseconds.
    var processorTime: UInt64?
    /// It is in a call of the kernel, and has been for a while.
    var isWaiting = false
    /// Where it was in its code before the first step against it.
    var stack: String?

    /// How a call that has just ended was stopped.
    var stoppedBy: CallStop? {
        switch stage {
        case .running: nil
        case .asked: CallStop(step: .asked, stack: stack)
        case .injected: CallStop(step: .injected, stack: stack)
        }
    }
}
