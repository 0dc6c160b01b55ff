import AgentModel
import PythonEmbedding

/// Calls a version's `shutdown()` after its calls in flight, and takes its module down.
///
/// Unchecked because `exception` is only touched by the worker's thread; nothing else changes.
final class ShutdownJob: Job, @unchecked Sendable {
    let id: UInt64
    let lane: JobLane?
    let timeLimit: Duration?
    let plugin: PluginID
    private let instance: PluginInstance
    private let home: PluginHome
    private let code: ObservedCode
    private let completion: @Sendable (RunError?) -> Void
    private var exception: PythonException?

    /// Beside a call it would take from it what the plugin's methods share.
    var runsAlone: Bool { true }
    var kind: WorkerUse.Kind { .shutdown }
    var endsWithAgent: Bool { false }

    init(
        id: UInt64, plugin: PluginID, lane: JobLane, instance: PluginInstance, home: PluginHome, code: ObservedCode,
        timeLimit: Duration,
        completion: @escaping @Sendable (RunError?) -> Void
    ) {
        self.id = id
        self.lane = lane
        self.plugin = plugin
        self.home = home
        self.instance = instance
        self.code = code
        self.timeLimit = timeLimit
        self.completion = completion
    }

    func takeHome() -> PluginHome? { home }

    func run(on slot: CallSlot, startedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        exception = code.around {
            let exception = slot.shutDown(instance, id: id, gil: gil)
            instance.forget(gil: gil)
            return exception
        }
    }

    func handOver(stoppedBy stop: CallStop?, endedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        if case .injected = stop?.step { return completion(.shutdownTimedOut) }
        completion(exception.map(RunError.init(shutdown:)))
    }

    func abandon(_ abandonment: Abandonment) {
        completion(.shutdownTimedOut)
    }

    func refuse() { completion(nil) }

    func discard(gil: borrowing GIL) {}
}

extension RunError {
    static let shutdownTimedOut = RunError(
        .pluginShutdownTimedOut,
        message: "shutdown() did not return in time and was given up; make it short, or let it check stop_requested")

    init(shutdown exception: PythonException) {
        self.init(
            .pluginShutdownFailed, type: exception.type, message: exception.message,
            traceback: exception.traceback)
    }
}
