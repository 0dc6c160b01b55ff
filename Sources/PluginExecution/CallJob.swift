import AgentModel
import Foundation
import PythonEmbedding
import Synchronization

/// One call of a plugin's method.
///
/// Unchecked because `startedAt` and `result` are only touched by the worker's thread; nothing else changes.
final class CallJob: Job, @unchecked Sendable {
    let id: UInt64
    let timeLimit: Duration?
    private let plugin: PluginSlot
    private let invocation: Invocation
    private let outputLimit: Int
    private let resultLimit: Int
    private let observer: (any CallObserver)?
    private let stopping: StopRequest
    private let continuation: CheckedContinuation<Outcome, Never>
    private var startedAt: (date: Date, instant: ContinuousClock.Instant)?
    /// Nil also when the plugin was unloaded while the call waited.
    private var result: CallResult?
    /// Of whoever comes first: the worker that is about to begin, or the watchdog that gives the worker up while that
    /// still waits for the GIL. What was reported as not begun must not begin.
    private let stage = Atomic(Stage.waiting)

    private enum Stage: UInt8, AtomicRepresentable {
        case waiting, begun, refused
    }

    var lane: JobLane? { plugin.lane }
    var runsAlone: Bool { false }

    init(
        id: UInt64, plugin: PluginSlot, invocation: Invocation, timeLimit: Duration?, outputLimit: Int,
        resultLimit: Int, observer: (any CallObserver)?, stopping: StopRequest,
        continuation: CheckedContinuation<Outcome, Never>
    ) {
        self.id = id
        self.plugin = plugin
        self.invocation = invocation
        self.timeLimit = timeLimit
        self.outputLimit = outputLimit
        self.resultLimit = resultLimit
        self.observer = observer
        self.stopping = stopping
        self.continuation = continuation
    }

    func run(on slot: CallSlot, startedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        guard !stopping.startsNothing.load(ordering: .acquiring), invocation.mayBegin(),
            stage.compareExchange(expected: .waiting, desired: .begun, ordering: .acquiringAndReleasing).exchanged
        else { return }
        // A new version may have been loaded, or this one unloaded, while the call waited.
        guard let version = plugin.current else { return }
        self.startedAt = (Date(), startedAt)
        let code = ObservedCode(
            observer: observer, plugin: invocation.pluginID, scriptHash: version.scriptHash, runID: invocation.runID)
        result = code.around {
            slot.call(
                invocation.function, of: version.instance, arguments: invocation.arguments, id: id,
                outputLimit: outputLimit, resultLimit: resultLimit, gil: gil)
        }
    }

    func handOver(stoppedBy step: StopStep?, endedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        guard stage.load(ordering: .acquiring) == .begun else { return refuse() }
        guard let result, let startedAt else {
            return continuation.resume(
                returning: .notBegun(.notLoaded(invocation.pluginID), status: .rejected))
        }
        resume(
            Outcome(
                result, stoppedBy: step, limit: timeLimit, startedAt: startedAt.date,
                duration: startedAt.instant.duration(to: endedAt)), step)
    }

    func abandon(at step: StopStep, after duration: Duration) {
        guard
            stage.compareExchange(
                expected: .waiting, desired: .refused, ordering: .acquiringAndReleasing
            ).original == .begun
        else { return refuse() }
        resume(
            Outcome(
                status: .timedOut, error: .timedOut(limit: timeLimit, step: step, traceback: nil),
                startedAt: Date().addingTimeInterval(-duration.seconds), duration: duration,
                isolation: InProcessExecutor.isolation), step)
    }

    private func resume(_ outcome: Outcome, _ step: StopStep?) {
        var outcome = outcome
        if let step, stopping.isRequested.load(ordering: .acquiring), timeLimit.map({ outcome.duration < $0 }) ?? true {
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
