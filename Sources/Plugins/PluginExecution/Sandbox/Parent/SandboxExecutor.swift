public import AgentModel
import Foundation
public import PythonEmbedding
public import Sandbox
import Synchronization
import Threads

/// Runs each plugin in a confined child of the agent, which holds an interpreter of its own.
///
/// A plugin may do there what it likes: it ends as one failed run, with everything it started, and the next call has
/// another process.
public final class SandboxExecutor: Executor {
    private struct State {
        var plugins: [PluginID: SandboxedPlugin] = [:]
        var isShutDown = false
        /// Loads and calls under way, and versions that are being taken down.
        var pending = 0
        /// Resumed when nothing is pending.
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let dependencies: SandboxDependencies
    private let state = BlockingLock(State())
    /// Guards the lanes of all plugins.
    private let turns = BlockingLock(())
    private let calls = BlockingQueue<SandboxedCall?>()
    private let workers: Int
    private let running = SandboxUses()
    private let observer: (any CallObserver)?
    private let stopping: StopRequest
    private let stopSignal: StopSignal

    /// - Parameters:
    ///   - workers: how many calls may run at the same time.
    ///   - outputLimit: bytes of UTF-8 kept of each stream of a call; a run that writes 64 times as much is stopped.
    ///   - resultLimit: bytes of UTF-8 that the JSON text of a result may have.
    ///   - shutdownLimit: of a plugin's `shutdown()`.
    ///   - idleTimeout: a process that nothing has used for so long is ended, and another started with the next call;
    ///     nil for never.
    ///   - requests: answers the `api` object of plugins, as far as their policies allow.
    ///   - observer: is told when a run begins.
    /// - Throws: `PythonEmbeddingError` when no thread can be made.
    public init(
        host: SandboxHost, workers: Int = 4, policy: TimeLimitPolicy = TimeLimitPolicy(), outputLimit: Int = 1 << 20,
        resultLimit: Int = 16 << 20, shutdownLimit: Duration = .seconds(10), idleTimeout: Duration? = nil,
        requests: any PluginHost = DetachedHost(),
        observer: (any CallObserver)? = nil
    ) throws(PythonEmbeddingError) {
        self.workers = max(1, workers)
        self.observer = observer
        let lastID = Counter()
        stopSignal = try StopSignal()
        stopping = StopRequest()
        dependencies = SandboxDependencies(
            standbyPool: try StandbyChildPool(host: host), work: BlockingQueue(), host: requests, policy: policy,
            limits: AnswerLimits(result: resultLimit, output: outputLimit), shutdownLimit: shutdownLimit,
            nextID: { lastID.next() }, stopping: stopping, stopDescriptor: stopSignal.descriptor)
        let (calls, work) = (calls, dependencies.work)
        for number in 1...self.workers {
            let wake = try WakeSignal()
            try PythonInterpreter.startPlainThread(name: "sandbox-\(number)") { [weak self] in
                while let call = calls.pop() { self?.run(call, wake) }
            }
        }
        // Loading waits for children to come up and for constructors to return.
        for number in 1...Self.loaders {
            try PythonInterpreter.startPlainThread(name: "sandbox-load-\(number)") {
                while let item = work.pop() { item() }
            }
        }
        if let idleTimeout { try startStoppingIdle(after: idleTimeout) }
    }

    private static let loaders = 4

    deinit {
        endThreads()
    }

    private func endThreads() {
        for _ in 0..<workers { calls.push(nil) }
        for _ in 0..<Self.loaders { dependencies.work.push(nil) }
    }

    private func startStoppingIdle(after idleTimeout: Duration) throws(PythonEmbeddingError) {
        let pause = max(idleTimeout / 4, .milliseconds(10))
        try PythonInterpreter.startPlainThread(name: "sandbox-rest") { [weak self] in
            while let executor = self, !executor.state.withLock({ $0.isShutDown }) {
                for version in executor.state.withLock({ $0.plugins.values.compactMap(\.current) }) {
                    version.stopIfIdle(for: idleTimeout)
                }
                Thread.sleep(forTimeInterval: pause.seconds)
            }
        }
    }

    // MARK: Loading

    @discardableResult
    public func load(_ image: PluginImage) async throws(PluginExecutionError) -> String {
        guard !stopping.startsNothing.load(ordering: .acquiring), beginPending() else { throw .stopped }
        defer { endPending() }
        let version = SandboxedVersion(
            image: image, policy: image.sandbox ?? SandboxPolicy(), dependencies: dependencies)
        dependencies.standbyPool.retain(version.kind)
        let result = await withCheckedContinuation { continuation in
            dependencies.work.push { [self] in
                continuation.resume(
                    returning: Result { () throws(PluginExecutionError) in
                        try version.ensureChild(within: self.dependencies.bound())
                    })
            }
        }
        let output: String
        do {
            output = try result.get()
        } catch {
            dependencies.standbyPool.release(version.kind)
            throw error
        }
        guard install(version) else {
            await withCheckedContinuation { continuation in version.retire { _ in continuation.resume() } }
            throw .stopped
        }
        return output
    }

    /// Puts a version into service and the one before it out of it, without waiting for that one's calls. False where
    /// everything has been shut down meanwhile.
    private func install(_ version: SandboxedVersion) -> Bool {
        let id = version.image.id
        let (isShutDown, slot) = state.withLock { state -> (Bool, SandboxedPlugin?) in
            if state.isShutDown { return (true, nil) }
            if let slot = state.plugins[id] {
                // For what retires below.
                state.pending += 1
                return (false, slot)
            }
            state.plugins[id] = SandboxedPlugin(version: version)
            return (false, nil)
        }
        guard let slot else { return !isShutDown }
        turns.withLock { _ in slot.lane.concurrency = version.image.concurrency }
        if let replaced = slot.replace(version) {
            replaced.retire { [self] _ in endPending() }
        } else {
            endPending()
        }
        return true
    }

    /// False where nothing may be begun any more.
    private func beginPending() -> Bool {
        state.withLock { state in
            guard !state.isShutDown else { return false }
            state.pending += 1
            return true
        }
    }

    private func endPending() {
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.pending -= 1
            guard state.pending == 0 else { return [] }
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    @discardableResult
    public func unload(_ id: PluginID) async -> RunError? {
        guard let version = state.withLock({ $0.plugins.removeValue(forKey: id) })?.replace(nil) else { return nil }
        return await withCheckedContinuation { continuation in
            version.retire { continuation.resume(returning: $0) }
        }
    }

    public func missingFunctions(among functions: [String], of id: PluginID) async -> [String] {
        guard let version = plugin(id)?.current else { return functions }
        return await withCheckedContinuation { continuation in
            dependencies.work.push { continuation.resume(returning: version.missingFunctions(among: functions)) }
        }
    }

    public func configure(_ id: PluginID, concurrency: Int, timeLimit: Duration?, keepsPrograms: Bool?) {
        guard let slot = plugin(id) else { return }
        slot.set(timeLimit: timeLimit, keepsPrograms: keepsPrograms ?? false)
        guard let channels = slot.current?.kind.channels else { return }
        // More than its process has channels take effect when it is loaded anew.
        turns.withLock { _ in slot.lane.concurrency = min(max(1, concurrency), channels) }
    }

    public func isolation(of id: PluginID) -> RunIsolation {
        plugin(id)?.current?.child?.isolation ?? .sandbox
    }

    // MARK: Calls

    public func execute(_ invocation: Invocation) async -> Outcome {
        let (slot, isShutDown) = state.withLock { state in
            guard let slot = state.plugins[invocation.pluginID], !state.isShutDown else {
                return (SandboxedPlugin?.none, state.isShutDown)
            }
            state.pending += 1
            return (slot, false)
        }
        guard let slot else {
            return .notBegun(
                isShutDown ? .executorStopped : .notLoaded(invocation.pluginID), status: .rejected)
        }
        return await withCheckedContinuation { continuation in
            let call = SandboxedCall(
                plugin: slot, invocation: invocation, timeLimit: invocation.timeLimit ?? slot.timeLimit,
                continuation: continuation)
            if turns.withLock({ _ in slot.lane.admit(call) }) { calls.push(call) }
        }
    }

    /// On a worker's thread.
    private func run(_ call: SandboxedCall, _ wake: WakeSignal) {
        let outcome = outcome(of: call, wake)
        // By the time its caller goes on, its turn is the next one's.
        let next = turns.withLock { _ in
            call.plugin.lane.release()
            var next: [SandboxedCall] = []
            while let admitted = call.plugin.lane.admitNext() { next.append(admitted) }
            return next
        }
        for call in next { calls.push(call) }
        call.continuation.resume(returning: outcome)
        endPending()
    }

    private func outcome(of call: SandboxedCall, _ wake: WakeSignal) -> Outcome {
        guard !stopping.startsNothing.load(ordering: .acquiring), call.invocation.isWanted else {
            return .notBegun(.notBegun, status: .interrupted)
        }
        // Before its process is made: that is part of the time it may take.
        let start = ContinuousClock.now
        let bound = dependencies.bound(until: call.timeLimit.map { start + $0 })
        do throws(PluginExecutionError) {
            while let version = call.plugin.current {
                let outcome = try version.withProcess(within: bound) { child, channel in
                    roundTrip(call, until: bound, with: version, child, channel, wake)
                }
                if let outcome { return outcome }
            }
            return .notBegun(.notLoaded(call.invocation.pluginID), status: .rejected)
        } catch {
            return outcome(of: error, for: call, bound, start)
        }
    }

    /// Of a call for which there is no process.
    private func outcome(
        of error: PluginExecutionError, for call: SandboxedCall, _ bound: SandboxBound,
        _ start: ContinuousClock.Instant
    ) -> Outcome {
        if error == .stopped { return .notBegun(.notBegun, status: .interrupted) }
        if bound.hasPassed {
            return Outcome(
                status: .timedOut, error: .timedOut(limit: call.timeLimit, step: .childEnded, traceback: nil),
                startedAt: Date() - start.duration(to: .now).seconds, duration: start.duration(to: .now),
                isolation: .sandbox)
        }
        let reason = RunError(code: error.code, message: error.message, traceback: error.traceback)
        // The host may have room for a child later; what the script does when it is loaded is the same then.
        if case .sandbox = error { return .notBegun(reason, status: .rejected) }
        var outcome = Outcome.rejected(reason, isolation: .sandbox)
        if case .loadCrashed = error { outcome.status = .crashed }
        return outcome
    }

    private func roundTrip(
        _ call: SandboxedCall, until bound: SandboxBound, with version: SandboxedVersion, _ child: SandboxChild,
        _ channel: Int, _ wake: WakeSignal
    ) -> Outcome {
        let (invocation, id) = (call.invocation, dependencies.nextID())
        running.begin(
            id, plugin: invocation.pluginID, runID: invocation.runID, place: (child, channel), wake: wake)
        defer { running.end(id) }
        // From here on whoever comes to watch or to cancel wakes this thread.
        let observer = invocation.observer
        let order = CallOrder(
            id: id, function: invocation.function, arguments: invocation.arguments, limits: dependencies.limits,
            sendsOutput: observer != nil)
        // It may have been cancelled while its process was made.
        guard invocation.isWanted else { return .notBegun(.notBegun, status: .interrupted) }
        // Only that it began: its end is not this process's.
        self.observer?.codeBegins(
            of: invocation.pluginID, runID: invocation.runID, scriptHash: version.image.scriptHash)
        self.observer?.codeEnded()
        let (date, start) = (Date(), ContinuousClock.now)
        var raw = SandboxRoundTrip.SideOutput()
        let end = dependencies.roundTrip(
            on: child, channel: channel, deadline: bound.deadline,
            cpuLimit: version.kind.policy.cpuTime, stopDescriptor: stopSignal.descriptor,
            wishes: LateWishes(wake: wake, cancellation: invocation.cancellation, relay: invocation.relay),
            onOutput: observer
        ).run(order, beside: &raw)
        guard let end else { return .rejected(.argumentsTooLarge, isolation: child.isolation) }
        let duration = start.duration(to: .now)
        var notes = CallNotes()
        if case .answered(let answer, _) = end {
            notes = answer.notes
            // Where they can't be ended they would be in the way of later calls.
            if notes.contains(.startedPrograms), !call.plugin.keepsPrograms, !child.endPrograms(ofRun: id) {
                version.replace(child)
            }
        } else {
            version.replace(child)
        }
        var outcome = SandboxedRun(
            isolation: child.isolation, policy: version.kind.policy, limit: call.timeLimit, startedAt: date,
            duration: duration, outputLimit: dependencies.limits.output, isStopped: bound.isStopped && !bound.hasPassed,
            cancelledBy: invocation.cancellation?.effective
        ).outcome(of: end)
        // What isn't known to be this run's: C code and raw forks write to what the whole process has. Where the process
        // has ended it says why.
        if case .answered = end { raw.log() } else { outcome.add(raw, limit: dependencies.limits.output) }
        outcome.pythonStack = raw.stack
        // What it holds of its memory, or has left in its scratch folder, would be in the way of the next.
        if outcome.status == .outOfMemory || notes.contains(.scratchIsFull) { version.replace(child) }
        return outcome
    }

    /// How many calls that are at it for so long wait in the kernel, by what they have done since this was last asked.
    func countWaiting(after grace: Duration) -> Int { running.countWaiting(after: grace) }

    /// The calls under way, the longest first.
    var uses: [WorkerUse] { running.all }

    // MARK: Stopping

    public func cancel(_ runID: String) { running.wake(runID) }

    public func observe(_ runID: String) { running.wake(runID) }

    public func stack(of runID: String) async -> String? {
        guard let (id, place) = running.place(ofRun: runID) else { return nil }
        let stack: String? = await withCheckedContinuation { continuation in
            do throws(PythonEmbeddingError) {
                try PythonInterpreter.startPlainThread(name: "stacks") {
                    continuation.resume(returning: place.child.stack(of: id, channel: place.channel, .either))
                }
            } catch {
                continuation.resume(returning: nil)
            }
        }
        // It may have been told where the next call on that thread is.
        return running.place(ofRun: runID)?.id == id ? stack : nil
    }

    public func stopStarting() { stopping.startsNothing.store(true, ordering: .releasing) }

    public func stopCalls() {
        stopStarting()
        stopping.isRequested.store(true, ordering: .releasing)
        stopSignal.raise()
    }

    public func shutDown() async {
        let (isFirst, ids) = state.withLock { state in
            defer { state.isShutDown = true }
            return (!state.isShutDown, Array(state.plugins.keys))
        }
        await withTaskGroup(of: Void.self) { group in
            for id in ids { group.addTask { await self.unload(id) } }
        }
        // A call may still be on a version that was replaced, or wait for a turn that tells it that it has none.
        await withCheckedContinuation { continuation in
            let isQuiet = state.withLock { state in
                guard state.pending > 0 else { return true }
                state.waiting.append(continuation)
                return false
            }
            if isQuiet { continuation.resume() }
        }
        guard isFirst else { return }
        await dependencies.standbyPool.stop()
        endThreads()
    }

    private func plugin(_ id: PluginID) -> SandboxedPlugin? {
        state.withLock { $0.plugins[id] }
    }
}

/// Numbers that are never used twice.
private final class Counter: Sendable {
    private let last = Atomic<UInt64>(0)

    func next() -> UInt64 { last.add(1, ordering: .relaxed).newValue }
}
