public import AgentModel
public import PluginExecution
public import PythonEmbedding
public import Sandbox

extension AgentConfiguration {
    /// The executor of both tiers, as it is configured.
    ///
    /// - Parameters:
    ///   - host: answers the `api` object of plugins.
    ///   - workersMax: as `InProcessExecutor` has it.
    ///   - events: what the in-process tier tells.
    /// - Throws: `PythonEmbeddingError` when no thread can be made.
    public func makeExecutor(
        interpreter: PythonInterpreter, workers: Int, workersMax: Int? = nil, host: any PluginHost,
        observer: (any CallObserver)? = nil, events: ExecutorEvents
    ) throws(PythonEmbeddingError) -> TieredExecutor {
        let inProcess = try InProcessExecutor(
            interpreter: interpreter, workers: workers, workersMax: workersMax, resultLimit: resultLimit,
            observer: observer, events: events)
        let sandboxHost = sandboxHost
        let (idleTimeout, resultLimit) = (sandbox.idleTimeout, resultLimit)
        return TieredExecutor(inProcess: inProcess) { () throws(PythonEmbeddingError) in
            try SandboxExecutor(
                // The dispatcher gives no more out than may run at the same time.
                host: sandboxHost, workers: max(workers, workersMax ?? workers), resultLimit: resultLimit,
                idleTimeout: idleTimeout, requests: host,
                observer: observer)
        }
    }
}

extension AgentConfiguration {
    /// What all sandboxed plugins have in common.
    public var sandboxHost: SandboxHost {
        SandboxHost(
            mode: sandbox.mode, user: sandbox.user, pythonPath: pythonPath,
            libraryPaths: PythonInterpreter.libraryFolders)
    }
}

extension PluginSettings {
    /// What a plugin that asks for this may do in the sandbox, and what it asked for in vain; nil where it doesn't run
    /// in it. Looks at the file system.
    public func sandboxPolicy(for request: SandboxRequest?) -> (policy: SandboxPolicy, refused: [SandboxRefusal])? {
        guard isolation == .sandbox else { return nil }
        return request.map(policy.narrowed(by:)) ?? (policy, [])
    }
}
