internal import CPython

/// Proof that the current thread holds the global interpreter lock.
///
/// Every operation on Python objects takes it as an argument. It can be neither copied nor sent, and is only ever
/// lent to a closure, so holding it is holding the lock.
public struct GIL: ~Copyable {
    // Only `PythonAttachment` makes one.
    init() {}
}

@available(*, unavailable)
extension GIL: Sendable {}

/// The current thread's place in the interpreter: one thread state for the whole life of the thread.
///
/// Making a thread state for each call costs several times as much as the call, and CPython ties injected exceptions
/// and context variables to it.
public struct PythonAttachment: ~Copyable {
    private let state: UnsafeMutablePointer<PyThreadState>
    /// How CPython names this thread for ``PythonInterpreter/inject(intoThread:gil:)``.
    public let threadID: UInt

    /// Attaches the current thread. It must not be attached yet, and must stay alive until ``detach()``.
    init(interpreter: OpaquePointer) {
        state = PyThreadState_New(interpreter)
        threadID = UInt(rb_thread_id(state))
    }

    /// Adopts the thread state that `Py_Initialize` made for this thread, which holds the GIL, and releases it.
    init(adoptingCurrent: ()) {
        state = PyEval_SaveThread()
        threadID = UInt(rb_thread_id(state))
    }

    /// Takes the GIL, waiting for it, and runs a closure that may use Python.
    ///
    /// Only values that can be sent come out, and a `@Sendable` closure can't store into what it captured: taking a
    /// Python object out does not compile. No lock may be held around this call.
    public func withGIL<Result: Sendable, Failure: Error>(
        _ body: @Sendable (borrowing GIL) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        PyEval_RestoreThread(state)
        defer { PyEval_SaveThread() }
        return try body(GIL())
    }

    /// Ends the thread's place in the interpreter. Waits for the GIL.
    consuming func detach() {
        PyEval_RestoreThread(state)
        PyThreadState_Clear(state)
        PyThreadState_DeleteCurrent()
    }
}

@available(*, unavailable)
extension PythonAttachment: Sendable {}

extension GIL {
    /// Lets go of the GIL while a closure runs that may block: HTTP, disk, waiting. No Python object may be touched
    /// in it.
    func released<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        let state = PyEval_SaveThread()
        defer { PyEval_RestoreThread(state) }
        return try body()
    }
}
