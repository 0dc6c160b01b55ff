internal import CPython

/// The modules of ``EmbeddedPython`` while the interpreter starts: executed, and to be found by their names until
/// ``hide()``.
struct OwnModules {
    private let table: PyPointer
    private let names: [String]

    /// Executes them.
    ///
    /// - Throws: ``PythonEmbeddingError/bootstrapFailed(_:)``.
    init(gil: borrowing GIL) throws(PythonEmbeddingError) {
        // Borrowed; the interpreter has a dictionary there.
        guard let table = PySys_GetObject("modules") else { throw Bootstrap.failure(gil: gil) }
        self.table = table
        names =
            [EmbeddedPython.package, Self.fullName(EmbeddedPython.host)]
            + EmbeddedPython.modules.map { Self.fullName($0.name) }
        guard let package = PyImport_AddModule(EmbeddedPython.package), let path = PyList_New(0) else {
            throw Bootstrap.failure(gil: gil)
        }
        let ownedPath = PythonObject(owning: path)
        guard PyObject_SetAttrString(package, "__path__", ownedPath.pointer) == 0,
            let host = PyImport_AddModule(Self.fullName(EmbeddedPython.host)),
            HostFunctions.define(in: PyModule_GetDict(host), gil: gil)
        else { throw Bootstrap.failure(gil: gil) }
        for module in EmbeddedPython.modules { try Self.execute(module, gil: gil) }
    }

    /// A new reference to what a module defines.
    func attribute(_ name: String, of module: String, gil: borrowing GIL) throws(PythonEmbeddingError) -> PyPointer {
        guard let module = PyDict_GetItemString(table, Self.fullName(module)),
            let attribute = PyObject_GetAttrString(module, name)
        else { throw Bootstrap.failure(gil: gil) }
        return attribute
    }

    /// Takes them out of `sys.modules`. They stay as long as the process: their functions refer to them.
    func hide() {
        for name in names where PyDict_DelItemString(table, name) != 0 { PyErr_Clear() }
    }

    private static func fullName(_ module: String) -> String { "\(EmbeddedPython.package).\(module)" }

    private static func execute(
        _ module: (name: String, source: [UInt8]), gil: borrowing GIL
    ) throws(PythonEmbeddingError) {
        let file = EmbeddedPython.fileName(of: module.name)
        let compiled = (module.source + [0]).withUnsafeBytes { bytes in
            Py_CompileString(bytes.baseAddress!.assumingMemoryBound(to: CChar.self), file, Py_file_input)
        }
        guard let compiled else { throw Bootstrap.failure(gil: gil) }
        let code = PythonObject(owning: compiled)
        guard let made = PyImport_ExecCodeModuleEx(fullName(module.name), code.pointer, file) else {
            throw Bootstrap.failure(gil: gil)
        }
        // Kept for good: a module's dictionary would be emptied with it, and its functions need that.
        _ = made
    }
}
