public import AgentModel
public import PythonEmbedding
import Threads

/// Runs each plugin in the tier that its image names: in the agent's own interpreter, or in a sandbox.
public final class TieredExecutor: Executor {
    private struct State {
        var sandboxed: Set<PluginID> = []
        var sandbox: SandboxExecutor?
        var startsNothing = false
    }

    private let inProcess: InProcessExecutor
    private let makeSandbox: @Sendable () throws(PythonEmbeddingError) -> SandboxExecutor
    private let state = BlockingLock(State())

    /// - Parameter makeSandbox: called when the first plugin is loaded into one; its threads would be idle otherwise.
    public init(
        inProcess: InProcessExecutor,
        makeSandbox: @escaping @Sendable () throws(PythonEmbeddingError) -> SandboxExecutor
    ) {
        self.inProcess = inProcess
        self.makeSandbox = makeSandbox
    }

    // MARK: Loading

    @discardableResult
    public func load(_ image: PluginImage) async throws(PluginExecutionError) -> String {
        let (wasSandboxed, startsNothing) = state.withLock { ($0.sandboxed.contains(image.id), $0.startsNothing) }
        // Whoever stops has no use for it, and would have to wait.
        if startsNothing { throw .stopped }
        guard image.sandbox != nil else {
            let output = try await inProcess.load(image)
            if wasSandboxed {
                let sandbox = state.withLock { state in
                    state.sandboxed.remove(image.id)
                    return state.sandbox
                }
                await sandbox?.unload(image.id)
            }
            return output
        }
        let output = try await sandbox().load(image)
        if !wasSandboxed {
            state.withLock { _ = $0.sandboxed.insert(image.id) }
            await inProcess.unload(image.id)
        }
        return output
    }

    private func sandbox() throws(PluginExecutionError) -> SandboxExecutor {
        do throws(PythonEmbeddingError) {
            return try state.withLock { state throws(PythonEmbeddingError) in
                if let sandbox = state.sandbox { return sandbox }
                let sandbox = try makeSandbox()
                state.sandbox = sandbox
                inProcess.setCountWaitingElsewhere { [weak sandbox] grace in sandbox?.countWaiting(after: grace) ?? 0 }
                if state.startsNothing { sandbox.stopStarting() }
                return sandbox
            }
        } catch {
            throw .noThread(error)
        }
    }

    @discardableResult
    public func unload(_ id: PluginID) async -> RunError? {
        let executor = executor(of: id)
        state.withLock { _ = $0.sandboxed.remove(id) }
        return await executor.unload(id)
    }

    public func missingFunctions(among functions: [String], of id: PluginID) async -> [String] {
        await executor(of: id).missingFunctions(among: functions, of: id)
    }

    public func configure(_ id: PluginID, concurrency: Int, timeLimit: Duration?, keepsPrograms: Bool?) {
        executor(of: id).configure(
            id, concurrency: concurrency, timeLimit: timeLimit, keepsPrograms: keepsPrograms)
    }

    public func isolation(of id: PluginID) -> RunIsolation { executor(of: id).isolation(of: id) }

    /// Gives back the memory of modules that are gone. Milliseconds: once after several plugins were unloaded.
    public func collectGarbage() async { await inProcess.collectGarbage() }

    /// Who holds a thread of either tier, and since when.
    public var use: ExecutorUse {
        var use = inProcess.use
        if let sandbox = state.withLock({ $0.sandbox }) {
            use.uses = (use.uses + sandbox.uses).sorted { $0.since < $1.since }
        }
        return use
    }

    // MARK: Calls

    public func execute(_ invocation: Invocation) async -> Outcome {
        await executor(of: invocation.pluginID).execute(invocation)
    }

    public func cancel(_ runID: String) {
        inProcess.cancel(runID)
        state.withLock { $0.sandbox }?.cancel(runID)
    }

    public func observe(_ runID: String) {
        inProcess.observe(runID)
        state.withLock { $0.sandbox }?.observe(runID)
    }

    public func stack(of runID: String) async -> String? {
        if let stack = await inProcess.stack(of: runID) { return stack }
        return await state.withLock { $0.sandbox }?.stack(of: runID)
    }

    public func stopStarting() {
        let sandbox = state.withLock { state in
            state.startsNothing = true
            return state.sandbox
        }
        inProcess.stopStarting()
        sandbox?.stopStarting()
    }

    public func stopCalls() {
        let sandbox = state.withLock { state in
            state.startsNothing = true
            return state.sandbox
        }
        inProcess.stopCalls()
        sandbox?.stopCalls()
    }

    public func shutDown() async {
        async let inProcess: Void = inProcess.shutDown()
        await state.withLock { $0.sandbox }?.shutDown()
        await inProcess
    }

    private func executor(of id: PluginID) -> any Executor {
        state.withLock { state in
            if state.sandboxed.contains(id), let sandbox = state.sandbox { return sandbox }
            return inProcess
        }
    }
}
