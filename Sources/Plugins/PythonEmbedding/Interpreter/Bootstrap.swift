internal import CPython
import Synchronization

/// What Swift calls of the agent's own Python (``EmbeddedPython``), kept for the life of the process.
///
/// Unchecked because the pointers never change, and are only followed with the GIL.
final class Bootstrap: @unchecked Sendable {
    // More than a dozen properties: one for each object of Python that Swift calls.
    let currentCall: PyPointer
    let callClass: PyPointer
    let attachOutput: PyPointer
    let finishOutput: PyPointer
    let hasMethod: PyPointer
    let scanJSON: PyPointer
    let makeEncoder: PyPointer
    let loadPlugin: PyPointer
    let shutDown: PyPointer
    let forgetPlugin: PyPointer
    let resetThread: PyPointer
    let relayPrograms: PyPointer
    let describeCall: PyPointer
    let writeStacks: PyPointer
    let writeCrashes: PyPointer
    let timeLimitExceeded: PyPointer
    let outputLimitExceeded: PyPointer
    let resultTooLarge: PyPointer
    /// In which functions no exception may be injected: a dictionary of sets of names, by file.
    let uninterruptible: PyPointer
    /// A dictionary of the threads whose exception waits until they have left such a function.
    let waitingInjections: PyPointer
    let limitName: PyPointer
    let tapName: PyPointer
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
        try Self.extendSearchPath(with: pythonPath, gil: gil)
        let modules = try OwnModules(gil: gil)
        func name(_ name: String, of module: String) throws(PythonEmbeddingError) -> PyPointer {
            try modules.attribute(name, of: module, gil: GIL())
        }
        func interned(_ text: String) throws(PythonEmbeddingError) -> PyPointer {
            guard let object = PyUnicode_InternFromString(text) else { throw Self.failure(gil: GIL()) }
            return object
        }
        currentCall = try name("current_call", of: "output")
        callClass = try name("Call", of: "output")
        attachOutput = try name("attach", of: "output")
        finishOutput = try name("finish_output", of: "output")
        hasMethod = try name("has_method", of: "plugins")
        scanJSON = try name("scan_json", of: "results")
        makeEncoder = try name("make_encoder", of: "results")
        loadPlugin = try name("load_plugin", of: "plugins")
        shutDown = try name("shut_down", of: "plugins")
        forgetPlugin = try name("forget_plugin", of: "plugins")
        timeLimitExceeded = try name("TimeLimitExceeded", of: "contract")
        outputLimitExceeded = try name("OutputLimitExceeded", of: "output")
        resultTooLarge = try name("ResultTooLarge", of: "results")
        resetThread = try name("reset_thread", of: "threads")
        relayPrograms = try name("relay_programs", of: "programs")
        describeCall = try name("describe_call", of: "stacks")
        writeStacks = try name("write_stacks", of: "stacks")
        writeCrashes = try name("write_crashes", of: "stacks")
        guard let functions = PyObject_CallNoArgs(try name("uninterruptible", of: "threads")) else {
            throw Self.failure(gil: gil)
        }
        uninterruptible = functions
        waitingInjections = try name("waiting_injections", of: "threads")
        describeFunction = try name("describe", of: "exceptions")
        limitName = try interned("limit")
        tapName = try interned("tap")
        stopRequestedName = try interned("stop_requested")
        finishedName = try interned("finished")
        pluginName = try interned("plugin")
        outName = try interned("out")
        errName = try interned("err")
        emptyText = try interned("")
        zero = PyLong_FromLong(0)
        shared = try SharedAttributes(gil: gil)
        modules.hide()
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

    /// Reads a `Description` of the module `exceptions`.
    static func exception(from description: PyPointer, gil: borrowing GIL) -> PythonException {
        enum Field { static let type = 0, message = 1, traceback = 2, raisedInside = 3, isMemoryError = 4 }
        return PythonException(
            type: gil.text(of: rb_tuple_item(description, Field.type)),
            message: gil.text(of: rb_tuple_item(description, Field.message)),
            traceback: gil.text(of: rb_tuple_item(description, Field.traceback)),
            raisedInside: PyObject_IsTrue(rb_tuple_item(description, Field.raisedInside)) == 1,
            isMemoryError: PyObject_IsTrue(rb_tuple_item(description, Field.isMemoryError)) == 1)
    }

    private static func extendSearchPath(
        with pythonPath: [String], gil: borrowing GIL
    ) throws(PythonEmbeddingError) {
        // Borrowed; the interpreter has a list there.
        guard let searchPath = PySys_GetObject("path") else { throw failure(gil: gil) }
        for (index, folder) in pythonPath.enumerated() {
            guard let text = gil.string(folder) else { throw failure(gil: gil) }
            PyList_Insert(searchPath, index, text)
            rb_decref(text)
        }
    }

    /// Before `describe` exists: the exception's own text.
    static func failure(gil: borrowing GIL) -> PythonEmbeddingError {
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
