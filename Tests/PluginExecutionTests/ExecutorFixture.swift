import AgentModel
import PluginExecution
import PythonEmbedding
import Synchronization
import Testing

/// An executor on the linked CPython, with steps of milliseconds instead of seconds.
struct ExecutorFixture: Sendable {
    private static let lastNumber = Atomic<Int>(0)

    let executor: InProcessExecutor
    let id: PluginID

    /// - Parameter injectGrace: long where the injected exception must get its chance, as on a busy machine.
    init(
        workers: Int = 2, askGrace: Duration = .milliseconds(50), injectGrace: Duration = .seconds(60),
        interpreterGrace: Duration = .seconds(120), shutdownLimit: Duration = .seconds(60),
        onWedged: @escaping @Sendable () -> Void = {}
    ) throws {
        executor = try InProcessExecutor(
            interpreter: PythonInterpreter.start(), workers: workers,
            policy: TimeLimitPolicy(
                askGrace: askGrace, injectGrace: injectGrace, interpreterGrace: interpreterGrace),
            shutdownLimit: shutdownLimit, onWedged: onWedged)
        // Of its own: the tests run side by side in one interpreter.
        id = try PluginID("plugin-\(Self.lastNumber.add(1, ordering: .relaxed).newValue)")
    }

    func image(
        _ script: String, id: PluginID? = nil, concurrency: Int = 1, timeLimit: Duration? = nil
    ) -> PluginImage {
        let id = id ?? self.id
        return PluginImage(
            id: id, script: Array(script.utf8), path: "/plugins/\(id).py", concurrency: concurrency,
            timeLimit: timeLimit)
    }

    func load(
        _ script: String, id: PluginID? = nil, concurrency: Int = 1, timeLimit: Duration? = nil
    ) async throws {
        try await executor.load(image(script, id: id, concurrency: concurrency, timeLimit: timeLimit))
    }

    func execute(
        _ function: String, _ arguments: String = "{}", of id: PluginID? = nil, timeLimit: Duration? = nil
    ) async -> Outcome {
        await executor.execute(
            Invocation(pluginID: id ?? self.id, function: function, arguments: arguments, timeLimit: timeLimit))
    }
}

/// A module shared by the plugins of one process, by which a test and its plugins wait for each other.
enum Gates {
    static let script = """
        import builtins, threading
        if not hasattr(builtins, "test_gates"):
            builtins.test_gates = {}
        def gate(name):
            return builtins.test_gates.setdefault(name, threading.Event())
        """
}
