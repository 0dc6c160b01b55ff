import AgentModel
internal import CPython
internal import Glibc
import Synchronization
import Threads

/// The one CPython of this process.
///
/// It is initialised on a thread of its own, which Python takes for its main thread and which serves afterwards for
/// what must not wait behind a plugin's code: injecting exceptions, answering questions.
public final class PythonInterpreter: Sendable {
    /// Such as `3.11.2`, of the library that was loaded.
    public let version: String
    let bootstrap: Bootstrap
    private let state: InterpreterState
    private typealias Work = @Sendable (borrowing GIL) -> Void
    private let control: BlockingQueue<Work>
    private let reclaiming = BlockingQueue<Work>()

    /// Starts the interpreter, or returns the one that runs already.
    ///
    /// - Parameters:
    ///   - pythonPath: folders put in front of `sys.path`; only the first start's count.
    ///   - host: answers what plugins ask of the agent from now on; nil leaves the one there is.
    ///   - crashes: the descriptor to which it is written where the threads were when the process crashes; nil for standard
    ///     error. Only the first start's counts.
    /// - Throws: `PythonEmbeddingError`; after a failed start every further one fails the same way, because nothing
    ///   may take the GIL of an interpreter that did not come up.
    public static func start(
        pythonPath: [String] = [], host: (any PluginHost)? = nil, crashes: Int32? = nil
    ) throws(PythonEmbeddingError) -> PythonInterpreter {
        if let host { HostFunctions.setHost(host) }
        return try shared.withLock { existing throws(PythonEmbeddingError) in
            if let existing { return try existing.get() }
            let result = Result { () throws(PythonEmbeddingError) in try boot(pythonPath: pythonPath, crashes: crashes)
            }
            existing = result
            return try result.get()
        }
    }

    private static let shared = BlockingLock<Result<PythonInterpreter, PythonEmbeddingError>?>(nil)

    private init(
        bootstrap: Bootstrap, state: InterpreterState, control: BlockingQueue<Work>
    ) {
        self.bootstrap = bootstrap
        self.state = state
        self.control = control
        version = StandardLibrary.runningVersion
    }

    /// Runs a short piece of work on the control thread, soon: it waits for nothing but the GIL.
    public func perform<Value: Sendable>(_ work: @escaping @Sendable (borrowing GIL) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            control.push { gil in continuation.resume(returning: work(gil)) }
        }
    }

    /// Puts a short piece of work on the control thread without waiting for it.
    public func enqueue(_ work: @escaping @Sendable (borrowing GIL) -> Void) {
        control.push(work)
    }

    /// Puts work on a thread of its own that gives objects back: that runs what the plugins' `__del__` say, for which
    /// the control thread must not wait.
    public func reclaim(_ work: @escaping @Sendable (borrowing GIL) -> Void) {
        reclaiming.push(work)
    }

    func makeAttachment() -> PythonAttachment {
        PythonAttachment(interpreter: state.pointer)
    }

    private static func boot(
        pythonPath: [String], crashes: Int32?
    ) throws(PythonEmbeddingError) -> PythonInterpreter {
        guard StandardLibrary.runningVersion.hasPrefix(StandardLibrary.version + ".") else {
            throw .versionMismatch(built: StandardLibrary.version, running: StandardLibrary.runningVersion)
        }
        let control = BlockingQueue<Work>()
        let started = BlockingQueue<Result<PythonInterpreter, PythonEmbeddingError>>()
        try NativeThread.start(name: "python-control", acceptsSignals: true) {
            switch initialize(pythonPath: pythonPath, crashes: crashes) {
            case .failure(let error):
                started.push(.failure(error))
            case .success(let parts):
                let attachment = PythonAttachment(adoptingCurrent: ())
                started.push(
                    .success(PythonInterpreter(bootstrap: parts.bootstrap, state: parts.state, control: control)))
                while true {
                    let work = control.pop()
                    attachment.withGIL { gil in work(gil) }
                }
            }
        }
        let interpreter = try started.pop().get()
        let reclaiming = interpreter.reclaiming
        try interpreter.startThread(name: "python-reclaim") { attachment in
            while true {
                let work = reclaiming.pop()
                attachment.withGIL { gil in work(gil) }
            }
        }
        return interpreter
    }

    /// On the control thread. On success the thread holds the GIL.
    private static func initialize(
        pythonPath: [String], crashes: Int32?
    ) -> Result<(bootstrap: Bootstrap, state: InterpreterState), PythonEmbeddingError> {
        SignalDispositions.surviveSignals()
        let signals = SignalDispositions()
        defer { signals.restore() }
        let library = StandardLibrary.locate()
        let paths = (library?.searchPaths ?? []).map { strdup($0) }
        defer { paths.forEach { free($0) } }
        var reason = [CChar](repeating: 0, count: 512)
        let result = paths.map { UnsafePointer($0) }.withUnsafeBufferPointer { pointers in
            rb_initialize(
                library?.executable ?? "", library?.prefix, pointers.baseAddress, pointers.count, &reason, reason.count)
        }
        guard result == 0 else {
            let text = reason.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } } ?? ""
            return .failure(.initializationFailed(reason: text))
        }
        do throws(PythonEmbeddingError) {
            let bootstrap = try Bootstrap(pythonPath: pythonPath, gil: GIL())
            ThreadStacks.prepare(crashes: crashes, bootstrap: bootstrap, gil: GIL())
            return .success((bootstrap, InterpreterState(pointer: PyInterpreterState_Get())))
        } catch {
            PyEval_SaveThread()
            return .failure(error)
        }
    }
}

/// Because the pointer lives as long as the process and is only handed to functions that take it from any thread.
struct InterpreterState: @unchecked Sendable {
    let pointer: OpaquePointer
}

extension StandardLibrary {
    /// Such as `3.11.2`; `Py_GetVersion` needs no interpreter.
    static var runningVersion: String {
        String(String(cString: Py_GetVersion()).prefix { $0 != " " })
    }
}

/// The signal handlers that are ours, taken down before Python runs code of others and put back afterwards.
///
/// `import signal` takes SIGINT over even in an isolated interpreter where it finds the default there, and plugins
/// import what imports it.
struct SignalDispositions: ~Copyable {
    private static let guarded = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGPIPE, SIGUSR1, SIGUSR2]
    private let actions: [(signal: Int32, action: sigaction)]

    init() {
        actions = Self.guarded.map { signal in
            var action = sigaction()
            sigaction(signal, nil, &action)
            return (signal, action)
        }
    }

    /// Has the signals do nothing that Python code can raise against its own process (`signal.alarm`, `os.kill`) and
    /// whose default is to end it. Those that whoever runs the agent stops it with, and those of a crash, stay.
    static func surviveSignals() {
        let signals = [
            SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2, SIGIO, SIGPWR, SIGSTKFLT, SIGXCPU, SIGXFSZ,
        ]
        for signal in signals + (rb_first_real_time_signal()...rb_last_real_time_signal()) { rb_survive_signal(signal) }
    }

    func restore() {
        for (signal, action) in actions {
            var action = action
            sigaction(signal, &action, nil)
        }
    }
}
