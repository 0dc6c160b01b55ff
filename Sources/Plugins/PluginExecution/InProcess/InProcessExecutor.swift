public import AgentModel
import Diagnostics
import Foundation
public import PythonEmbedding
import Synchronization
import Threads

/// Calls plugins in the agent's own interpreter: microseconds, and no protection against what they do.
public final class InProcessExecutor: Executor {

    private struct State {
        var plugins: [PluginID: PluginSlot] = [:]
        /// Loads of one plugin follow each other, beside the calls of the version in service.
        var loading: [PluginID: JobLane] = [:]
        var isShutDown = false
    }

    private let interpreter: PythonInterpreter
    private let pool: WorkerPool
    private let state = BlockingLock(State())
    private let lastJobID = Atomic<UInt64>(0)
    private let outputLimit: Int
    private let resultLimit: Int
    private let shutdownLimit: Duration
    private let stopping = StopRequest()
    private let observer: (any CallObserver)?

    /// How long a question to the interpreter may wait for an answer: another thread may hold it.
    private static let roundTripLimit = Duration.seconds(5)
    /// How long the GIL is waited for before it is looked without it where a run is.
    private static let stackPatience = Duration.milliseconds(100)
    /// How many plugins' `shutdown()` run at the same time.
    private static let shutdownWidth = 32

    /// - Parameters:
    ///   - workers: how many calls may run at the same time.
    ///   - workersMax: how many may, where some of them wait in the kernel; nil for no more than `workers`.
    ///   - outputLimit: bytes of UTF-8 kept of each stream of a call.
    ///   - resultLimit: bytes of UTF-8 that a result may have.
    ///   - shutdownLimit: of a plugin's `shutdown()`.
    ///   - observer: is told when plugins' code runs.
    ///   - events: its `onWedged` is called when a plugin holds the GIL past every limit. All that ran has been
    ///     reported by then; it is expected to record that and to end the process.
    /// - Throws: `PythonEmbeddingError` when no thread can be made.
    public init(
        interpreter: PythonInterpreter, workers: Int = 4, workersMax: Int? = nil,
        policy: TimeLimitPolicy = TimeLimitPolicy(),
        outputLimit: Int = 1 << 20, resultLimit: Int = 16 << 20, shutdownLimit: Duration = .seconds(10),
        observer: (any CallObserver)? = nil, events: ExecutorEvents
    ) throws(PythonEmbeddingError) {
        self.interpreter = interpreter
        self.outputLimit = outputLimit
        self.resultLimit = resultLimit
        self.shutdownLimit = shutdownLimit
        self.observer = observer
        ForkedChild.watch()
        pool = try WorkerPool(
            interpreter: interpreter, workers: workers, limit: workersMax ?? workers, policy: policy, events: events)
    }

    /// As the other, for whoever wants to know nothing else.
    public convenience init(
        interpreter: PythonInterpreter, workers: Int = 4, policy: TimeLimitPolicy = TimeLimitPolicy(),
        outputLimit: Int = 1 << 20, resultLimit: Int = 16 << 20, shutdownLimit: Duration = .seconds(10),
        observer: (any CallObserver)? = nil, onWedged: @escaping @Sendable () -> Void
    ) throws(PythonEmbeddingError) {
        try self.init(
            interpreter: interpreter, workers: workers, policy: policy, outputLimit: outputLimit,
            resultLimit: resultLimit, shutdownLimit: shutdownLimit, observer: observer,
            events: ExecutorEvents(onWedged: onWedged))
    }

    deinit {
        pool.stop()
    }

    // MARK: Loading

    @discardableResult
    public func load(_ image: PluginImage) async throws(PluginExecutionError) -> String {
        let lane = state.withLock { state -> JobLane? in
            if state.isShutDown { return nil }
            let lane = state.loading[image.id] ?? JobLane(concurrency: 1)
            state.loading[image.id] = lane
            return lane
        }
        guard let lane else { throw .stopped }
        let home = PluginHome(plugin: image.id)
        let result = await withCheckedContinuation { continuation in
            let job = LoadJob(
                id: nextJobID(), lane: lane, image: image, home: home, outputLimit: outputLimit, observer: observer,
                current: { [weak self] in self?.plugin(image.id)?.instance },
                install: { [weak self] instance in self?.install(instance, at: home, as: image) },
                continuation: continuation)
            switch pool.submit(job) {
            case nil: break
            case .stopped: continuation.resume(returning: .failure(.stopped))
            // So many loads of it are still running that were given up.
            case .stuck: continuation.resume(returning: .failure(.loadTimedOut(plugin: image.id)))
            }
        }
        if case .failure = result { pool.retire(home) }
        return try result.get()
    }

    /// Puts a version into service and the one before it out of it, without waiting for that one's calls.
    private func install(_ instance: PluginInstance, at home: PluginHome, as image: PluginImage) {
        let version = PluginSlot.Version(
            instance: instance, home: home, scriptHash: image.scriptHash, timeLimit: image.timeLimit,
            keepsPrograms: image.keepsPrograms ?? true)
        let slot = state.withLock { state -> PluginSlot? in
            if let slot = state.plugins[image.id] { return slot }
            state.plugins[image.id] = PluginSlot(lane: JobLane(concurrency: image.concurrency), version: version)
            return nil
        }
        guard let slot else { return }
        pool.setConcurrency(image.concurrency, of: slot.lane)
        if let replaced = slot.replace(version) { retire(replaced, of: image.id, lane: slot.lane) { _ in } }
    }

    @discardableResult
    public func unload(_ id: PluginID) async -> RunError? {
        let slot = state.withLock { state in
            state.loading[id] = nil
            return state.plugins.removeValue(forKey: id)
        }
        guard let slot, let version = slot.replace(nil) else { return nil }
        return await withCheckedContinuation { continuation in
            retire(version, of: id, lane: slot.lane) { continuation.resume(returning: $0) }
        }
    }

    /// Calls `shutdown()` after the plugin's calls in flight and takes the module down.
    private func retire(
        _ version: PluginSlot.Version, of id: PluginID, lane: JobLane,
        completion: @escaping @Sendable (RunError?) -> Void
    ) {
        let job = ShutdownJob(
            id: nextJobID(), plugin: id, lane: lane, instance: version.instance, home: version.home,
            code: ObservedCode(observer: observer, plugin: id, scriptHash: version.scriptHash),
            timeLimit: shutdownLimit,
            completion: { [pool] error in
                pool.retire(version.home)
                completion(error)
            })
        guard let refusal = pool.submit(job) else { return }
        pool.retire(version.home)
        interpreter.reclaim { gil in version.instance.forget(gil: gil) }
        if case .stuck = refusal { completion(.stuck(id)) } else { completion(nil) }
    }

    /// Gives back the memory of modules that are gone. Milliseconds: once after several plugins were unloaded.
    public func collectGarbage() async {
        await interpreter.collectGarbage(within: Self.roundTripLimit)
    }

    public func missingFunctions(among functions: [String], of id: PluginID) async -> [String] {
        guard let instance = plugin(id)?.instance else { return functions }
        // What isn't known in time says so itself when it is called.
        return await interpreter.perform(within: Self.roundTripLimit) { gil in
            functions.filter { !instance.hasMethod($0, gil: gil) }
        } ?? []
    }

    public func isolation(of id: PluginID) -> RunIsolation { .inProcess }

    // MARK: Calls

    public func execute(_ invocation: Invocation) async -> Outcome {
        let (slot, isShutDown) = state.withLock { ($0.plugins[invocation.pluginID], $0.isShutDown) }
        guard let slot else {
            return .notBegun(isShutDown ? .executorStopped : .notLoaded(invocation.pluginID), status: .rejected)
        }
        let timeLimit = invocation.timeLimit ?? slot.timeLimit
        return await withCheckedContinuation { continuation in
            let job = CallJob(
                id: nextJobID(), plugin: slot, invocation: invocation, timeLimit: timeLimit, outputLimit: outputLimit,
                resultLimit: resultLimit, observer: observer, stopping: stopping, continuation: continuation)
            switch pool.submit(job) {
            case nil: break
            case .stopped: continuation.resume(returning: .notBegun(.executorStopped, status: .rejected))
            case .stuck(let stacks):
                var outcome = Outcome.rejected(.stuck(invocation.pluginID))
                outcome.pythonStack = stacks.isEmpty ? nil : stacks.joined(separator: "\n")
                continuation.resume(returning: outcome)
            }
        }
    }

    public func cancel(_ runID: String) { pool.cancel(runID) }

    public func observe(_ runID: String) { pool.observe(runID) }

    public func stack(of runID: String) async -> String? {
        guard let place = pool.place(ofRun: runID) else { return nil }
        let stack = await stack(at: place)
        // It may have been told where the next call on that thread is.
        return pool.place(ofRun: runID)?.job == place.job ? stack : nil
    }

    private func stack(at place: (slot: CallSlot, job: UInt64)) async -> String? {
        let answer = await interpreter.perform(within: Self.stackPatience) { gil in
            place.slot.stack(of: place.job, gil: gil)
        }
        if let answer { return answer }
        // Somebody holds the GIL, perhaps this run.
        return await withCheckedContinuation { continuation in
            do throws(PythonEmbeddingError) {
                try PythonInterpreter.startPlainThread(name: "stacks") {
                    continuation.resume(returning: ThreadStacks.dump()?.text(of: place.slot))
                }
            } catch {
                continuation.resume(returning: nil)
            }
        }
    }

    public func configure(_ id: PluginID, concurrency: Int, timeLimit: Duration?, keepsPrograms: Bool?) {
        guard let slot = state.withLock({ $0.plugins[id] }) else { return }
        slot.set(timeLimit: timeLimit, keepsPrograms: keepsPrograms ?? true)
        pool.setConcurrency(max(1, concurrency), of: slot.lane)
    }

    public func stopStarting() { stopping.startsNothing.store(true, ordering: .releasing) }

    public func stopCalls() {
        stopStarting()
        stopping.isRequested.store(true, ordering: .releasing)
        pool.stopCalls()
    }

    /// - Parameter count: how many calls elsewhere that are at it for so long wait in the kernel. Others may take their
    ///   places as those of calls here.
    func setCountWaitingElsewhere(_ count: @escaping @Sendable (Duration) -> Int) {
        pool.setCountWaitingElsewhere(count)
    }

    /// Who holds a thread of the executor, and since when.
    public var use: ExecutorUse { pool.use(at: .now) }

    public func shutDown() async {
        pool.beginShutdown()
        let ids = state.withLock { state in
            state.isShutDown = true
            return Array(state.plugins.keys)
        }
        // Side by side: each waits for the calls in flight of its plugin.
        await withTaskGroup(of: Void.self) { group in
            for (index, id) in ids.enumerated() {
                if index >= Self.shutdownWidth { await group.next() }
                group.addTask { await self.unload(id) }
            }
        }
        pool.stop()
    }

    private func plugin(_ id: PluginID) -> PluginSlot? {
        state.withLock { $0.plugins[id] }
    }

    private func nextJobID() -> UInt64 {
        lastJobID.add(1, ordering: .relaxed).newValue
    }
}

extension Outcome {
    static func rejected(_ error: RunError, isolation: RunIsolation = .inProcess) -> Outcome {
        Outcome(status: .rejected, error: error, startedAt: Date(), isolation: isolation)
    }

    /// Nothing of the plugin ran, and nothing speaks against running it later.
    static func notBegun(_ error: RunError, status: RunStatus) -> Outcome {
        var outcome = Outcome(status: status, error: error, startedAt: Date(), isolation: .none)
        outcome.hasBegun = false
        return outcome
    }
}

extension RunError {
    static func notLoaded(_ id: PluginID) -> RunError {
        RunError(
            .pluginNotLoaded,
            message: "the plugin \(quoted(id.rawValue)) is not loaded; see 'plugin verify' for the reason")
    }

    fileprivate static func stuck(_ id: PluginID) -> RunError {
        RunError(
            .pluginStuck,
            message: "\(WorkerPool.stuckLimit) earlier calls of the plugin \(quoted(id.rawValue)) could not be stopped "
                + "and are still running; correct the plugin and restart the agent")
    }

    static let executorStopped = RunError(
        .executorStopped, message: "the run was not started because the agent is shutting down; create a new task")
}
