internal import CPython
internal import Glibc

/// The place on one thread where plugin code runs, one call at a time.
///
/// It keeps what a call needs and a thread can keep: the JSON encoder and the thread's number for injected
/// exceptions. Unchecked because everything mutable is only touched with the GIL.
public final class CallSlot: @unchecked Sendable {
    // More than a dozen properties: half of it is the thread, half the running call, and both are touched with the GIL alone.
    let interpreter: PythonInterpreter
    let bootstrap: Bootstrap
    let threadID: UInt
    private let json: JSONCoder
    private let state: UnsafeMutablePointer<PyThreadState>
    private let signalMask: sigset_t
    /// Whose code ran here last.
    private var lastPlugin: UInt64 = 0
    /// The running call as plugins' streams see it, and the number by which others name it.
    private(set) var running: (id: UInt64, call: PyPointer)?
    /// Whether somebody is told what the running call writes, and by which tap where that came later.
    private(set) var isObserved = false
    /// Who came to watch a call that had not begun yet.
    var earlyObserver: (id: UInt64, observer: OutputObserver)?
    private var lateTap: OutputTap?
    /// What it has started, how many bytes of each stream it keeps, and the name by which its programs are marked.
    private(set) var programs: RunPrograms?
    private var outputLimit = 0
    private var runName: String?
    /// Whether an exception was aimed at this thread that may not have been raised yet.
    private var hasInjected = false
    /// Its key among the exceptions that wait for a safe place, while one does.
    private var waitingKey: PyPointer?

    /// What was asked for a call that did not run: it has ended, or its thread still waits for the GIL.
    private var early: (id: UInt64, step: EarlyStep)?

    private enum EarlyStep {
        case ask
        case inject
    }

    /// Nil also when the call was told to stop and went on: it gets no more consideration.
    var runningCall: UInt64? { hasInjected ? nil : running?.id }

    /// Makes the slot of the current thread.
    ///
    /// - Throws: ``PythonEmbeddingError/bootstrapFailed(_:)``, out of memory.
    public init(
        interpreter: PythonInterpreter, threadID: UInt, gil: borrowing GIL
    ) throws(PythonEmbeddingError) {
        self.interpreter = interpreter
        self.threadID = threadID
        bootstrap = interpreter.bootstrap
        json = try JSONCoder(interpreter.bootstrap, gil: gil)
        state = PyThreadState_Get()
        var mask = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &mask)
        signalMask = mask
        bootstrap.shared.add(self)
        ProgramFunctions.add(self)
    }

    /// Gives the slot's objects back. The slot must not be used afterwards.
    public func close(gil: borrowing GIL) {
        bootstrap.shared.remove(self)
        ProgramFunctions.remove(self)
        json.close(gil: gil)
    }

    // MARK: Calls

    /// Calls a method with keyword arguments.
    ///
    /// - Parameters:
    ///   - arguments: JSON text of an object.
    ///   - id: names the call for ``requestStop(of:gil:)`` and ``inject(into:gil:)``; never used twice.
    ///   - outputLimit: bytes of UTF-8 kept of each stream.
    ///   - resultLimit: bytes of UTF-8 that the result may have. Beside the plugin's own objects no more than about twice
    ///     as much is used to find that it has more.
    ///   - runName: names the run to the programs that it starts; nil for a number.
    ///   - onOutput: is told what it writes while it runs.
    public func call(
        _ function: String, of plugin: PluginInstance, arguments: String, id: UInt64, outputLimit: Int = 1 << 20,
        resultLimit: Int = 16 << 20, runName: String? = nil, onOutput: OutputObserver? = nil, gil: borrowing GIL
    ) -> CallResult {
        self.runName = runName
        let run = withinCall(id: id, plugin: plugin, outputLimit: outputLimit, onOutput: onOutput, gil: gil) {
            self.value(of: function, plugin: plugin, arguments: arguments, limit: resultLimit, gil: GIL())
        }
        var result =
            switch run {
            case .success(let run): CallResult(value: run.value, stdout: run.stdout, stderr: run.stderr)
            case .failure(let exception): CallResult(value: .failure(.raised(exception)), stdout: "", stderr: "")
            }
        guard let programs = endPrograms() else { return result }
        result.programs = programs
        if programs.isFlooded, case .success = result.value {
            result.value = .failure(.outputLimitExceeded(.flooded(limit: outputLimit)))
        }
        return result
    }

    /// Compiles exactly these bytes, runs them as a module and makes the script's `Plugin`.
    public func load(
        script: [UInt8], path: String, pluginID: String, id: UInt64, outputLimit: Int = 1 << 20,
        onOutput: OutputObserver? = nil, gil: borrowing GIL
    ) -> Result<(plugin: PluginInstance, output: String), LoadFailure> {
        let signals = SignalDispositions()
        defer { signals.restore() }
        let moduleName = PluginInstance.moduleName(forPluginID: pluginID)
        runName = nil
        let run = withinCall(id: id, plugin: nil, outputLimit: outputLimit, onOutput: onOutput, gil: gil) {
            self.loadWithinCall(
                script: script, path: path, pluginID: pluginID, moduleName: moduleName, gil: GIL())
        }
        _ = endPrograms()
        switch run {
        case .success(let run):
            let output = run.stdout + run.stderr
            // What its constructor has set on this thread is its own.
            if case .success(let plugin) = run.value { lastPlugin = plugin.number }
            return run.value.map { ($0, output) }.mapError { failure in
                var failure = failure
                failure.output = output
                return failure
            }
        case .failure(let exception):
            return .failure(LoadFailure(stage: .execute, exception: exception, output: ""))
        }
    }

    /// Calls the plugin's `shutdown()`, if it has one. Returns what it raised.
    public func shutDown(_ plugin: PluginInstance, id: UInt64, gil: borrowing GIL) -> PythonException? {
        let run = withinCall(id: id, plugin: plugin, outputLimit: 1 << 16, gil: gil) { () -> PythonException? in
            let gil = GIL()
            guard let result = PyObject_CallOneArg(self.bootstrap.shutDown, plugin.instance) else {
                return gil.takeException(describedBy: self.bootstrap)
            }
            rb_decref(result)
            return nil
        }
        _ = endPrograms()
        return switch run {
        case .success(let run): run.value
        case .failure(let exception): exception
        }
    }

    // MARK: Stopping, from another thread

    /// Sets `stop_requested` for the plugin to see. False if that call doesn't run here now; where it is still to
    /// come, it will find it set.
    @discardableResult
    public func requestStop(of id: UInt64, gil: borrowing GIL) -> Bool {
        guard let running, running.id == id else {
            early = (id, .ask)
            return false
        }
        if PyObject_SetAttr(running.call, bootstrap.stopRequestedName, rb_true()) != 0 { PyErr_Clear() }
        return true
    }

    /// Raises `TimeLimitExceeded` in the call at its next bytecode. False if it doesn't run here now; where it is
    /// still to come, that is its first one.
    ///
    /// Where the call is inside of a function that must not be interrupted (`uninterruptible` of the module `threads`) the exception
    /// waits for the end of that. What gives back a lock raises it itself; and every millisecond it is looked whether the
    /// call is somewhere else, up to ``injectionPatience``.
    @discardableResult
    public func inject(into id: UInt64, gil: borrowing GIL) -> Bool {
        guard let running, running.id == id else {
            early = (id, .inject)
            return false
        }
        hasInjected = true
        guard rb_must_not_interrupt(state, bootstrap.uninterruptible) != 0 else { return raise() }
        guard waitingKey == nil else { return true }
        guard let key = PyLong_FromUnsignedLong(threadID) else {
            PyErr_Clear()
            return false
        }
        waitingKey = key
        if PyDict_SetItem(bootstrap.waitingInjections, key, rb_true()) != 0 { PyErr_Clear() }
        lookAgain(at: id, until: .now + Self.injectionPatience)
        return true
    }

    /// Longer than a call is given after an injection.
    private static let injectionPatience = Duration.seconds(10)

    private func raise() -> Bool { PyThreadState_SetAsyncExc(threadID, bootstrap.timeLimitExceeded) == 1 }

    /// On the control thread, behind what else waits for it.
    private func lookAgain(at id: UInt64, until end: ContinuousClock.Instant) {
        interpreter.enqueue { [self] gil in
            // The call needs the GIL to get on.
            gil.released { _ = usleep(1000) }
            guard let running, running.id == id, let waitingKey,
                PyDict_Contains(bootstrap.waitingInjections, waitingKey) == 1
            else { return }
            if rb_must_not_interrupt(state, bootstrap.uninterruptible) == 0 {
                endWaiting()
                _ = raise()
            } else if ContinuousClock.now < end {
                lookAgain(at: id, until: end)
            }
        }
    }

    private func endWaiting() {
        guard let key = waitingKey else { return }
        waitingKey = nil
        if PyDict_DelItem(bootstrap.waitingInjections, key) != 0 { PyErr_Clear() }
        rb_decref(key)
    }

    // MARK: Inside

    private typealias Run<Value> = (value: Value, stdout: String, stderr: String)

    /// Runs a closure with output captured and a context of its own, and returns the closure's result with the output.
    /// Fails only where memory ran out before the closure was called.
    ///
    /// - Parameter plugin: whose call it is; nil while there is none yet.
    private func withinCall<Value>(
        id: UInt64, plugin: PluginInstance?, outputLimit: Int, onOutput: OutputObserver? = nil, gil: borrowing GIL,
        _ body: () -> Value
    ) -> Result<Run<Value>, PythonException> {
        resetThread(for: plugin, gil: gil)
        // An exception injected too late for the last call, by us or by a plugin's thread, must not kill this one.
        rb_clear_injected_exception(state)
        guard let newContext = PyContext_New() else { return .failure(gil.takeException(describedBy: bootstrap)) }
        let context = PythonObject(owning: newContext)
        guard PyContext_Enter(context.pointer) == 0 else {
            return .failure(gil.takeException(describedBy: bootstrap))
        }
        defer {
            // It fails where a C extension left a context of its own entered.
            if PyContext_Exit(context.pointer) != 0 { PyErr_Clear() }
        }
        guard let newCall = PyObject_CallNoArgs(bootstrap.callClass) else {
            return .failure(gil.takeException(describedBy: bootstrap))
        }
        let call = PythonObject(owning: newCall)
        let tap = (onOutput ?? takeEarlyObserver(of: id)).map { OutputTap($0) }
        isObserved = tap != nil
        defer {
            if let tap = tap ?? lateTap { gil.released { tap.close() } }
            lateTap = nil
        }
        guard setLimit(outputLimit, of: call.pointer), setTap(tap, of: call.pointer),
            plugin.map({ PyObject_SetAttr(call.pointer, bootstrap.pluginName, $0.module) == 0 }) ?? true,
            let newToken = PyContextVar_Set(bootstrap.currentCall, call.pointer)
        else { return .failure(gil.takeException(describedBy: bootstrap)) }
        rb_decref(newToken)
        running = (id, call.pointer)
        self.outputLimit = outputLimit
        if let early, early.id == id {
            requestStop(of: id, gil: gil)
            if early.step == .inject { inject(into: id, gil: gil) }
        }

        let value = body()

        // Before any other Python code runs here.
        rb_end_tracing(state)
        running = nil
        if hasInjected {
            endWaiting()
            rb_clear_injected_exception(state)
            hasInjected = false
        }
        let output = finishOutput(call.pointer, gil: gil)
        if programs != nil { StartedPrograms.remove(slot: self, call: id) }
        bootstrap.shared.check(gil: gil)
        return .success((value, output.stdout, output.stderr))
    }

    /// Makes the thread what a new one is, as far as the next call could tell: of a plugin's own earlier calls it may
    /// find the event loop that they set, of another plugin's nothing.
    private func resetThread(for plugin: PluginInstance?, gil: borrowing GIL) {
        rb_end_tracing(state)
        rb_use_global_locale()
        if let plugin, plugin.number == lastPlugin { return }
        if lastPlugin != 0 {
            if let result = PyObject_CallNoArgs(bootstrap.resetThread) { rb_decref(result) } else { PyErr_Clear() }
            var mask = signalMask
            pthread_sigmask(SIG_SETMASK, &mask, nil)
        }
        lastPlugin = plugin?.number ?? .max
    }

    /// Whether that is the call that runs here now.
    func isRunning(_ call: PyPointer) -> Bool { running?.call == call }

    /// Made at the first program; nil where that can't be.
    func programsOfRunningCall() -> RunPrograms? {
        if let programs { return programs }
        guard let running, let made = Self.makePrograms(name: runName, limit: outputLimit) else { return nil }
        programs = made
        if isObserved { tellOfPrograms() }
        StartedPrograms.add(made, slot: self, call: running.id)
        return made
    }

    /// What the call that has just ended has started; what that writes from now on goes to the log.
    private func endPrograms() -> RunPrograms? {
        guard let ended = programs else { return nil }
        programs = nil
        ended.finish()
        return ended
    }

    func setLateTap(_ tap: OutputTap) {
        (lateTap, isObserved) = (tap, true)
        tellOfPrograms()
    }

    private func setLimit(_ limit: Int, of call: PyPointer) -> Bool {
        guard limit != 1 << 20 else { return true }
        guard let newLimit = PyLong_FromLong(limit) else { return false }
        let limit = PythonObject(owning: newLimit)
        return PyObject_SetAttr(call, bootstrap.limitName, limit.pointer) == 0
    }

    private func setTap(_ tap: OutputTap?, of call: PyPointer) -> Bool {
        guard let tap else { return true }
        guard let newNumber = PyLong_FromLong(Int(tap.number)) else { return false }
        let number = PythonObject(owning: newNumber)
        return PyObject_SetAttr(call, bootstrap.tapName, number.pointer) == 0
    }

    private func value(
        of function: String, plugin: PluginInstance, arguments: String, limit: Int, gil: borrowing GIL
    ) -> Result<String?, CallFailure> {
        var keywords: PyPointer?
        defer { if let keywords { rb_decref(keywords) } }
        if arguments != "{}" {
            switch json.decode(arguments, gil: gil) {
            case .success(let object): keywords = object.pointer
            case .failure(let failure): return .failure(failure)
            }
        }
        guard let method = plugin.attribute(function, gil: gil) else {
            return .failure(bootstrap.attributeFailure(function, of: plugin, gil: gil))
        }
        let ownedMethod = PythonObject(owning: method)
        guard PyCallable_Check(ownedMethod.pointer) != 0 else {
            return .failure(.functionNotCallable(type: String(cString: rb_type_name(ownedMethod.pointer))))
        }
        let returned = PyObject_VectorcallDict(ownedMethod.pointer, nil, 0, keywords)
        // Or describing and encoding would be traced too.
        rb_end_tracing(state)
        guard let result = returned else { return .failure(bootstrap.callFailure(gil: gil)) }
        let ownedResult = PythonObject(owning: result)
        return json.encode(ownedResult.pointer, limit: limit, gil: gil)
    }

    private func loadWithinCall(
        script: [UInt8], path: String, pluginID: String, moduleName: String, gil: borrowing GIL
    ) -> Result<PluginInstance, LoadFailure> {
        guard
            let arguments = gil.tuple(
                gil.string(moduleName), gil.string(path), gil.bytes(script), gil.string(pluginID))
        else { return .failure(bootstrap.scriptFailure(gil: gil)) }
        let ownedArguments = PythonObject(owning: arguments)
        guard let result = PyObject_CallObject(bootstrap.loadPlugin, ownedArguments.pointer) else {
            // The exception that was injected came when the script itself had ended.
            return .failure(bootstrap.scriptFailure(gil: gil))
        }
        let script = LoadedScript(tuple: PythonObject(owning: result))
        let stage = gil.text(of: script.stage)
        guard stage == "loaded" else {
            return .failure(
                LoadFailure(
                    stage: LoadFailure.Stage(rawValue: stage) ?? .execute,
                    exception: rb_is_tuple(script.result) != 0
                        ? Bootstrap.exception(from: script.result, gil: gil)
                        : bootstrap.describe(script.exception, gil: gil),
                    output: "",
                    exceededTimeLimit:
                        PyErr_GivenExceptionMatches(script.exception, bootstrap.timeLimitExceeded) != 0))
        }
        let module = PythonObject(borrowing: script.result)
        let instance = PythonObject(borrowing: script.instance)
        return .success(
            PluginInstance(
                moduleName: moduleName, path: path, module: module.take(), instance: instance.take(),
                interpreter: interpreter))
    }
}
