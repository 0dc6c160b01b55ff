import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import PythonEmbedding
import Sandbox
import Synchronization
import Testing

/// Where plugins run.
enum Tier: String, CaseIterable, Sendable {
    case inProcess = "in-process"
    case sandbox
}

/// An executor on the linked CPython, with steps of milliseconds instead of seconds.
struct ExecutorFixture: Sendable {
    private static let lastNumber = Atomic<Int>(0)
    /// The agent itself, which the tests of this package are built beside.
    static let agent = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "runbook-agent").path(percentEncoded: false)

    let tier: Tier
    let executor: any Executor
    let id: PluginID
    /// Where the plugins' files would be. All plugins may write there, whichever user they run as.
    let folder: TemporaryFolder
    /// What plugins may do in the sandbox.
    let policy: SandboxPolicy

    /// - Parameters:
    ///   - injectGrace: long where the injected exception must get its chance, as on a busy machine.
    ///   - host: what confines the children of the sandbox.
    ///   - change: makes another policy of the usual one.
    init(
        _ tier: Tier, workers: Int = 2, askGrace: Duration = .milliseconds(50), injectGrace: Duration = .seconds(60),
        interpreterGrace: Duration = .seconds(120), outputLimit: Int = 1 << 20, shutdownLimit: Duration = .seconds(60),
        idleTimeout: Duration? = nil, host: SandboxHost = SandboxHost(executable: Self.agent),
        requests: any PluginHost = DetachedHost(), workersMax: Int? = nil, kernelGrace: Duration = .seconds(60),
        onWedged: @escaping @Sendable () -> Void = {},
        policy change: (inout SandboxPolicy) -> Void = { _ in },
        onHold: @escaping @Sendable (InterpreterHold?) -> Void = { _ in }
    ) throws {
        self.tier = tier
        folder = try TemporaryFolder()
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder.path)
        var policy = SandboxPolicy()
        policy.writePaths = [folder.path]
        change(&policy)
        self.policy = policy
        let limits = TimeLimitPolicy(
            askGrace: askGrace, injectGrace: injectGrace, interpreterGrace: interpreterGrace,
            kernelGrace: kernelGrace)
        executor =
            switch tier {
            case .inProcess:
                try InProcessExecutor(
                    interpreter: PythonInterpreter.start(), workers: workers, workersMax: workersMax,
                    policy: limits, outputLimit: outputLimit, shutdownLimit: shutdownLimit,
                    events: ExecutorEvents(onWedged: onWedged, onHold: onHold))
            case .sandbox:
                try SandboxExecutor(
                    host: host, workers: workers, policy: limits, outputLimit: outputLimit,
                    shutdownLimit: shutdownLimit, idleTimeout: idleTimeout, requests: requests)
            }
        id = try Self.newID("plugin")
    }

    /// Of its own: the tests run side by side, and those of one tier in one interpreter.
    static func newID(_ name: String) throws -> PluginID {
        try PluginID("\(name)-\(lastNumber.add(1, ordering: .relaxed).newValue)")
    }

    func image(
        _ script: String, id: PluginID? = nil, concurrency: Int = 1, timeLimit: Duration? = nil,
        policy: SandboxPolicy? = nil
    ) -> PluginImage {
        let id = id ?? self.id
        return PluginImage(
            id: id, script: Array(script.utf8), path: folder.path("\(id).py"), concurrency: concurrency,
            timeLimit: timeLimit, sandbox: tier == .sandbox ? policy ?? self.policy : nil)
    }

    func load(
        _ script: String, id: PluginID? = nil, concurrency: Int = 1, timeLimit: Duration? = nil,
        policy: SandboxPolicy? = nil
    ) async throws {
        try await executor.load(
            image(script, id: id, concurrency: concurrency, timeLimit: timeLimit, policy: policy))
    }

    func execute(
        _ function: String, _ arguments: String = "{}", of id: PluginID? = nil, timeLimit: Duration? = nil
    ) async -> Outcome {
        await executor.execute(
            Invocation(pluginID: id ?? self.id, function: function, arguments: arguments, timeLimit: timeLimit))
    }
}

/// By which a test and its plugins wait for each other, from whichever process: files beside the plugins' own.
enum Gates {
    static let script = """
        import os as _os, time as _time
        class gate:
            def __init__(self, name):
                self.path = _os.path.join(_os.path.dirname(__file__), name.replace(" ", "-") + ".gate")
            def set(self): open(self.path, "w").close()
            # Or the test is over, and no one is to go on waiting.
            def is_set(self): return _os.path.exists(self.path) or not _os.path.exists(_os.path.dirname(self.path))
            def wait(self, seconds=3600):
                end = _time.monotonic() + seconds
                while not self.is_set():
                    if _time.monotonic() > end: return False
                    _time.sleep(0.001)
                return True
        """
}

extension ExecutorFixture {
    /// Opens a gate for the plugins.
    func open(_ gate: String) {
        _ = FileManager.default.createFile(atPath: path(ofGate: gate), contents: nil)
    }

    func isOpen(_ gate: String) -> Bool { FileManager.default.fileExists(atPath: path(ofGate: gate)) }

    private func path(ofGate name: String) -> String {
        folder.path(name.replacing(" ", with: "-") + ".gate")
    }
}
