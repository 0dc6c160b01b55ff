import AgentModel
import Diagnostics
import Dispatch
import Glibc
import Logging
import PluginExecution
import ProcessLogging
import Synchronization

/// Carries events from parts that are made early to parts that are made late.
final class AgentEvents: Sendable {
    private struct Listeners {
        let reporter: Reporter
        let loader: PluginLoader
        let synchronizer: Synchronizer
        let dispatcher: Dispatcher
        let statusChanged: StatusRecorder.Trigger
        let recorder: StatusRecorder
        let logger: Logger
    }

    /// How long the last records may take when the interpreter is wedged.
    private static let recordLimit = DispatchTimeInterval.seconds(5)
    private let isStopping = Atomic<Bool>(false)
    let isJournalLost = Atomic(false)
    /// Signalled when the outbox may have become smaller.
    let outboxChange = Alarm()
    private let listeners = Mutex<Listeners?>(nil)

    func connect(
        reporter: Reporter, loader: PluginLoader, synchronizer: Synchronizer, dispatcher: Dispatcher,
        statusChanged: StatusRecorder.Trigger, recorder: StatusRecorder, logger: Logger
    ) {
        let connected = Listeners(
            reporter: reporter, loader: loader, synchronizer: synchronizer, dispatcher: dispatcher,
            statusChanged: statusChanged, recorder: recorder, logger: logger)
        listeners.withLock { $0 = connected }
    }

    func resultIsWaiting() {
        listeners.withLock { $0?.reporter }?.wake()
    }

    func outboxShrank() {
        outboxChange.ring()
        guard let dispatcher = listeners.withLock({ $0?.dispatcher }), dispatcher.holdsBack else { return }
        Task { await dispatcher.outboxShrank() }
    }

    /// The agent was told to stop: a wedged interpreter is no reason to be started again.
    func agentIsStopping() { isStopping.store(true, ordering: .releasing) }

    var isAgentStopping: Bool { isStopping.load(ordering: .acquiring) }

    func pluginIsDamaged(_ id: PluginID) {
        guard let listeners = listeners.withLock({ $0 }) else { return }
        Task {
            await listeners.loader.markDamaged(id)
            listeners.synchronizer.wake()
        }
    }

    /// A thread has held the interpreter's lock for long, or, with nil, does so no more.
    func interpreterIsHeld(_ hold: InterpreterHold?) {
        guard let listeners = listeners.withLock({ $0 }) else { return }
        if let hold {
            var metadata: Logger.Metadata = ["code": "python.held", "since": "\(RFC3339.string(from: hold.since))"]
            if let plugin = hold.plugin { metadata["plugin"] = "\(plugin)" }
            if let run = hold.runID { metadata["run_id"] = "\(run)" }
            listeners.logger.warning(
                "\(hold.holder) holds the interpreter's lock, and nothing else can run in the agent's process meanwhile",
                metadata: metadata)
        } else {
            listeners.logger.notice("the interpreter lock was released")
        }
        listeners.statusChanged()
    }

    /// So many calls may run at the same time from now on.
    func workersChanged(_ count: Int) {
        guard let listeners = listeners.withLock({ $0 }) else { return }
        listeners.logger.debug("calls that may run at the same time", metadata: ["workers": "\(count)"])
        Task { await listeners.dispatcher.setWorkers(count) }
    }

    /// A plugin holds the GIL for ever. What ran has been reported by the executor; once that is in the journal the
    /// process ends, for the supervisor to start it again. Called on the watchdog's thread, which may wait.
    func endProcess() {
        let recorded = DispatchSemaphore(value: 0)
        if let listeners = listeners.withLock({ $0 }) {
            listeners.logger.critical(
                "a plugin holds the interpreter lock past every limit; exiting so that a supervisor can restart the agent",
                metadata: ["code": "python.wedged"])
            Task {
                await listeners.dispatcher.settled()
                // An agent that was told to stop says so itself.
                if !self.isAgentStopping { await listeners.recorder.stoppedByWedge() }
                recorded.signal()
            }
            _ = recorded.wait(timeout: .now() + Self.recordLimit)
        }
        if isAgentStopping { return }
        LogOutput.standardError.flush(within: .seconds(1))
        _exit(ExitStatus.wedged)
    }
}
