import AgentModel
import Foundation
import PythonEmbedding
import Synchronization
import Threads

/// One call of a plugin's method.
///
/// Unchecked because the pool's lock guards `version` until the worker's thread has the job, and only that thread
/// touches it, `startedAt`, `keepsPrograms` and `result` from then on; nothing else changes.
final class CallJob: Job, @unchecked Sendable {
    // More than a dozen properties: what one call is made with, and what comes of it.
    let id: UInt64
    let timeLimit: Duration?
    private let slot: PluginSlot
    private let invocation: Invocation
    private let outputLimit: Int
    private let resultLimit: Int
    private let observer: (any CallObserver)?
    private let stopping: StopRequest
    private let continuation: CheckedContinuation<Outcome, Never>
    private var startedAt: (date: Date, instant: ContinuousClock.Instant)?
    /// The one whose thread the call was given to; nil where the plugin was unloaded while the call waited.
    private var version: PluginSlot.Version?
    private var keepsPrograms = true
    /// Nil also when the plugin was unloaded while the call waited.
    private var result: CallResult?
    /// Of whoever comes first: the worker that is about to begin, or the watchdog that gives the worker up while that
    /// still waits for the GIL. What was reported as not begun must not begin.
    private let stage = Atomic(Stage.waiting)

    private enum Stage: UInt8, AtomicRepresentable {
        case waiting, begun, refused
    }

    var plugin: PluginID { invocation.pluginID }
    var runID: String? { invocation.runID }
    var relay: OutputRelay? { invocation.relay }
    var cancellation: Cancellation? { invocation.cancellation }
    var kind: WorkerUse.Kind { .call }
    var lane: JobLane? { slot.lane }
    var runsAlone: Bool { false }

    init(
        id: UInt64, plugin: PluginSlot, invocation: Invocation, timeLimit: Duration?, outputLimit: Int,
        resultLimit: Int, observer: (any CallObserver)?, stopping: StopRequest,
        continuation: CheckedContinuation<Outcome, Never>
    ) {
        self.id = id
        slot = plugin
        self.invocation = invocation
        self.timeLimit = timeLimit
        self.outputLimit = outputLimit
        self.resultLimit = resultLimit
        self.observer = observer
        self.stopping = stopping
        self.continuation = continuation
    }

    func takeHome() -> PluginHome? {
        // A new version may have been loaded, or this one unloaded, while the call waited.
        version = slot.current
        return version?.home
    }

    func run(on callSlot: CallSlot, startedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        guard !stopping.startsNothing.load(ordering: .acquiring), invocation.isWanted,
            stage.compareExchange(expected: .waiting, desired: .begun, ordering: .acquiringAndReleasing).exchanged
        else { return }
        guard let version else { return }
        self.startedAt = (Date(), startedAt)
        keepsPrograms = version.keepsPrograms
        let code = ObservedCode(
            observer: observer, plugin: invocation.pluginID, scriptHash: version.scriptHash, runID: invocation.runID)
        result = code.around {
            callSlot.call(
                invocation.function, of: version.instance, arguments: invocation.arguments, id: id,
                outputLimit: outputLimit, resultLimit: resultLimit, runName: invocation.runID,
                onOutput: invocation.observer, gil: gil)
        }
    }

    func handOver(stoppedBy stop: CallStop?, endedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        guard stage.load(ordering: .acquiring) == .begun else { return refuse() }
        guard let result, let startedAt else {
            return continuation.resume(
                returning: .notBegun(.notLoaded(invocation.pluginID), status: .rejected))
        }
        // The injection may have been spared it, but it has been stopped where its programs were ended.
        let stop = stop ?? (result.programs?.wasStopped == true ? CallStop(step: .injected) : nil)
        // A run that was stopped is over with everything that it started.
        if let programs = result.programs, stop != nil || !keepsPrograms { ProgramEnd.begin(programs) }
        resume(
            Outcome(
                result, stoppedBy: stop?.step, limit: timeLimit, startedAt: startedAt.date,
                duration: startedAt.instant.duration(to: endedAt)), stop)
    }

    func abandon(_ abandonment: Abandonment) {
        guard
            stage.compareExchange(
                expected: .waiting, desired: .refused, ordering: .acquiringAndReleasing
            ).original == .begun
        else { return refuse() }
        let duration = abandonment.duration
        let isStopping = stopping.isRequested.load(ordering: .acquiring)
        let isPastLimit = abandonment.isPastLimit || isStopping || invocation.cancellation?.effective != nil
        resume(
            Outcome(
                status: isPastLimit ? .timedOut : .interrupted,
                error: isPastLimit
                    ? .timedOut(limit: timeLimit, step: abandonment.stop.step, traceback: nil)
                    : .cutOff(holder: abandonment.holder),
                startedAt: Date().addingTimeInterval(-duration.seconds), duration: duration,
                isolation: .inProcess), isPastLimit ? abandonment.stop : nil)
    }

    private func resume(_ outcome: Outcome, _ stop: CallStop?) {
        var outcome = outcome
        outcome.pythonStack = stop?.stack
        let step = stop?.step
        if let step, let request = invocation.cancellation?.effective {
            outcome.status = .cancelled
            outcome.error = .cancelled(by: request, step: step, traceback: outcome.error?.traceback)
        } else if let step, stopping.isRequested.load(ordering: .acquiring),
            timeLimit.map({ outcome.duration < $0 }) ?? true
        {
            outcome.status = .interrupted
            outcome.error = .stopped(step: step, traceback: outcome.error?.traceback)
        }
        continuation.resume(returning: outcome)
    }

    func refuse() { continuation.resume(returning: .notBegun(.notBegun, status: .interrupted)) }

    func discard(gil: borrowing GIL) {}
}

/// Whether the calls of an executor are stopped, all of them.
final class StopRequest: Sendable {
    let isRequested = Atomic<Bool>(false)
    /// No call begins any more.
    let startsNothing = Atomic<Bool>(false)
}
