internal import CPython
import Synchronization

/// The names that ``BootstrapScript`` leaves behind, kept for the life of the process.
///
/// Unchecked because the pointers never change, and are only followed with the GIL.
final class Bootstrap: @unchecked Sendable {
    let currentCall: PyPointer
    let callClass: PyPointer
    let finishOutput: PyPointer
    let hasMethod: PyPointer
    let scanJSON: PyPointer
    let makeEncoder: PyPointer
    let loadPlugin: PyPointer
    let shutDown: PyPointer
    let forgetPlugin: PyPointer
    let resetThread: PyPointer
    let timeLimitExceeded: PyPointer
    let outputLimitExceeded: PyPointer
    let resultTooLarge: PyPointer
    /// In which functions no exception may be injected: a dictionary of sets of names, by file.
    let uninterruptible: PyPointer
    /// A dictionary of the threads whose exception waits until they have left such a function.
    let waitingInjections: PyPointer
    let limitName: PyPointer
    let stopRequestedName: PyPointer
    let finishedName: PyPointer
    let pluginName: PyPointer
    let outName: PyPointer
    let errName: PyPointer
    let emptyText: PyPointer
    let zero: PyPointer
    /// What plugins replace in modules that all share, and the restoring of it.
    let shared: SharedAttributes
    private let describeFunction: PyPointer

    init(pythonPath: [String], gil: borrowing GIL) throws(PythonEmbeddingError) {
        guard let module = PyModule_New("__runbook__") else { throw Self.failure(gil: gil) }
        // Kept for good, with everything it defines.
        let globals = PyModule_GetDict(module)!
        try Self.prepare(globals, pythonPath: pythonPath, gil: gil)
        for (source, file) in [
            (BootstrapScript.source, BootstrapScript.fileName), (ProgramScript.source, ProgramScript.fileName),
        ] {
            guard let code = Py_CompileString(source, file, Py_file_input) else { throw Self.failure(gil: gil) }
            let ownedCode = PythonObject(owning: code)
            guard let result = PyEval_EvalCode(ownedCode.pointer, globals, globals) else {
                throw Self.failure(gil: gil)
            }
            rb_decref(result)
        }

        func name(_ name: String) throws(PythonEmbeddingError) -> PyPointer {
            guard let object = PyDict_GetItemString(globals, name) else {
                throw .bootstrapFailed(
                    PythonException(type: "NameError", message: "\(name) is not defined", traceback: nil))
            }
            rb_incref(object)
            return object
        }
        func interned(_ text: String) throws(PythonEmbeddingError) -> PyPointer {
            guard let object = PyUnicode_InternFromString(text) else { throw Self.failure(gil: GIL()) }
            return object
        }
        currentCall = try name("current_call")
        callClass = try name("Call")
        finishOutput = try name("finish_output")
        hasMethod = try name("has_method")
        scanJSON = try name("scan_json")
        makeEncoder = try name("make_encoder")
        loadPlugin = try name("load_plugin")
        shutDown = try name("shut_down")
        forgetPlugin = try name("forget_plugin")
        timeLimitExceeded = try name("TimeLimitExceeded")
        outputLimitExceeded = try name("OutputLimitExceeded")
        resultTooLarge = try name("ResultTooLarge")
        resetThread = try name("reset_thread")
        guard let functions = PyObject_CallNoArgs(try name("uninterruptible")) else { throw Self.failure(gil: gil) }
        uninterruptible = functions
        waitingInjections = try name("waiting_injections")
        describeFunction = try name("describe")
        limitName = try interned("limit")
        stopRequestedName = try interned("stop_requested")
        finishedName = try interned("finished")
        pluginName = try interned("plugin")
        outName = try interned("out")
        errName = try interned("err")
        emptyText = try interned("")
        zero = PyLong_FromLong(0)
        shared = try SharedAttributes(gil: gil)
    }

    /// Describes an exception in words. Never raises: what the exception's own code raises is replaced.
    func describe(_ exception: PyPointer, gil: borrowing GIL) -> PythonException {
        guard let tuple = PyObject_CallOneArg(describeFunction, exception) else {
            // Out of memory, or a plugin that broke the traceback module for everybody.
            PyErr_Clear()
            return PythonException(
                type: "Exception", message: "(the exception could not be described)", traceback: nil)
        }
        let owned = PythonObject(owning: tuple)
        return Self.exception(from: owned.pointer, gil: gil)
    }

    /// Reads what the script's `describe` returned.
    static func exception(from description: PyPointer, gil: borrowing GIL) -> PythonException {
        PythonException(
            type: gil.text(of: rb_tuple_item(description, 0)), message: gil.text(of: rb_tuple_item(description, 1)),
            traceback: gil.text(of: rb_tuple_item(description, 2)),
            raisedInside: PyObject_IsTrue(rb_tuple_item(description, 3)) == 1,
            isMemoryError: PyObject_IsTrue(rb_tuple_item(description, 4)) == 1)
    }

    private static func prepare(
        _ globals: PyPointer, pythonPath: [String], gil: borrowing GIL
    ) throws(PythonEmbeddingError) {
        PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins())
        if let file = gil.string(BootstrapScript.fileName) {
            PyDict_SetItemString(globals, "__file__", file)
            rb_decref(file)
        }
        guard let request = HostFunctions.makeRequestFunction(gil: gil) else { throw failure(gil: gil) }
        PyDict_SetItemString(globals, "host_request", request.pointer)
        let echo = HostFunctions.echo.withLock { $0 }
        for (name, descriptor) in [("echo_out", echo.out), ("echo_err", echo.err)] {
            guard let number = PyLong_FromLong(Int(descriptor)) else { throw failure(gil: gil) }
            PyDict_SetItemString(globals, name, number)
            rb_decref(number)
        }
        guard let measure = HostFunctions.makeMeasureFunction(gil: gil) else { throw failure(gil: gil) }
        PyDict_SetItemString(globals, "host_measure", measure.pointer)
        guard let spawned = gil.string(BootstrapScript.spawnedSource) else { throw failure(gil: gil) }
        PyDict_SetItemString(globals, "spawned_source", spawned)
        rb_decref(spawned)
        guard let owner = HostFunctions.makeThreadOwnerFunction(gil: gil),
            let began = HostFunctions.makeThreadBeganFunction(gil: gil),
            let ended = HostFunctions.makeThreadEndedFunction(gil: gil)
        else { throw failure(gil: gil) }
        PyDict_SetItemString(globals, "host_thread_owner", owner.pointer)
        PyDict_SetItemString(globals, "host_thread_began", began.pointer)
        PyDict_SetItemString(globals, "host_thread_ended", ended.pointer)
        guard ProgramFunctions.define(in: globals) else { throw failure(gil: gil) }
        // Borrowed; the interpreter has a list there.
        guard let searchPath = PySys_GetObject("path") else { throw failure(gil: gil) }
        for (index, folder) in pythonPath.enumerated() {
            guard let text = gil.string(folder) else { throw failure(gil: gil) }
            PyList_Insert(searchPath, index, text)
            rb_decref(text)
        }
    }

    /// Before `describe` exists: the exception's own text.
    private static func failure(gil: borrowing GIL) -> PythonEmbeddingError {
        guard let exception = rb_take_exception() else {
            return .bootstrapFailed(PythonException(type: "SystemError", message: "unknown", traceback: nil))
        }
        let owned = PythonObject(owning: exception)
        guard let text = PyObject_Repr(owned.pointer) else {
            PyErr_Clear()
            return .bootstrapFailed(PythonException(type: "SystemError", message: "unknown", traceback: nil))
        }
        let ownedText = PythonObject(owning: text)
        return .bootstrapFailed(
            PythonException(type: "Exception", message: gil.text(of: ownedText.pointer), traceback: nil))
    }
}
