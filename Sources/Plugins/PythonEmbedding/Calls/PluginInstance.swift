internal import CPython
internal import Synchronization

/// A loaded plugin: its module and the one instance of its class `Plugin`.
///
/// Calls in flight hold it, so a plugin that is replaced or unloaded goes on to exist until the last of them ends.
/// Unchecked because the Python objects are only touched with the GIL, which every method asks for.
public final class PluginInstance: @unchecked Sendable {
    public let moduleName: String
    public let path: String
    let instance: PyPointer
    let module: PyPointer
    /// Tells it from every other instance there was.
    let number = PluginInstance.lastNumber.add(1, ordering: .relaxed).newValue
    private static let lastNumber = Atomic<UInt64>(0)
    private let interpreter: PythonInterpreter
    /// Names of attributes that are there, as Python strings, made at their first use.
    private var attributeNames: [String: PyPointer] = [:]
    /// The one of the last call: mostly it is the next one's too.
    private var lastName: (text: String, object: PyPointer)?

    /// Takes over both references.
    init(moduleName: String, path: String, module: PyPointer, instance: PyPointer, interpreter: PythonInterpreter) {
        self.moduleName = moduleName
        self.path = path
        self.module = module
        self.instance = instance
        self.interpreter = interpreter
    }

    deinit {
        // The last owner may be any thread, with or without the GIL.
        let remains = Remains(pointers: [instance, module] + attributeNames.values)
        interpreter.reclaim { _ in
            for pointer in remains.pointers { rb_decref(pointer) }
        }
    }

    /// Whether the instance has an attribute of that name that can be called, as far as can be said without running
    /// the plugin's code.
    public func hasMethod(_ name: String, gil: borrowing GIL) -> Bool {
        guard let nameObject = gil.string(name) else {
            PyErr_Clear()
            return false
        }
        let ownedName = PythonObject(owning: nameObject)
        guard let answer = rb_call_two(interpreter.bootstrap.hasMethod, instance, ownedName.pointer) else {
            PyErr_Clear()
            return false
        }
        let owned = PythonObject(owning: answer)
        return PyObject_IsTrue(owned.pointer) == 1
    }

    /// The public methods of the instance's class, sorted, as far as can be said without running the plugin's code.
    func methodNames(limit: Int, gil: borrowing GIL) -> [String] {
        guard let type = PyObject_Type(instance) else {
            PyErr_Clear()
            return []
        }
        let ownedType = PythonObject(owning: type)
        guard let list = PyObject_Dir(ownedType.pointer) else {
            PyErr_Clear()
            return []
        }
        let owned = PythonObject(owning: list)
        var names: [String] = []
        for index in 0..<max(0, PyList_Size(owned.pointer)) where names.count < limit {
            guard let item = PyList_GetItem(owned.pointer, index), rb_is_str(item) != 0 else { continue }
            let name = gil.text(of: item)
            if !name.hasPrefix("_"), hasMethod(name, gil: gil) { names.append(name) }
        }
        PyErr_Clear()
        return names
    }

    /// Takes the module out of `sys.modules`, unless another version of the script has taken its place.
    ///
    /// - Parameter successor: what stands there from then on.
    public func forget(inFavourOf successor: PluginInstance? = nil, gil: borrowing GIL) {
        guard let name = gil.string(moduleName) else { return PyErr_Clear() }
        let ownedName = PythonObject(owning: name)
        guard let path = gil.string(path) else { return PyErr_Clear() }
        let ownedPath = PythonObject(owning: path)
        var arguments: [PyPointer?] = [ownedName.pointer, ownedPath.pointer, module, successor?.module ?? rb_none()]
        if let result = PyObject_Vectorcall(interpreter.bootstrap.forgetPlugin, &arguments, arguments.count, nil) {
            rb_decref(result)
        } else {
            PyErr_Clear()
        }
    }

    /// A new reference to an attribute of the instance; nil with a Python error set where there is none.
    func attribute(_ name: String, gil: borrowing GIL) -> PyPointer? {
        if let lastName, lastName.text == name { return PyObject_GetAttr(instance, lastName.object) }
        if let known = attributeNames[name] {
            lastName = (name, known)
            return PyObject_GetAttr(instance, known)
        }
        guard let made = gil.string(name) else { return nil }
        guard let attribute = PyObject_GetAttr(instance, made) else {
            // Not kept: names that aren't there come without an end.
            rb_decref(made)
            return nil
        }
        // Another thread may have kept one while the plugin's own code gave the attribute.
        if attributeNames[name] == nil {
            attributeNames[name] = made
        } else {
            rb_decref(made)
        }
        return attribute
    }

    /// Unchecked because it only carries the pointers to the thread that gives them back.
    private struct Remains: @unchecked Sendable {
        let pointers: [PyPointer]
    }

    /// The name under which a plugin's module stands in `sys.modules`: different for different ids.
    public static func moduleName(forPluginID id: String) -> String {
        id.utf8.reduce(into: "runbook_plugin_") { name, byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                name += "_" + String(byte, radix: 16) + "_"
            }
        }
    }
}

extension PythonInterpreter {
    /// Collects reference cycles, which every module is part of. Milliseconds, growing with the heap, or for ever
    /// where a plugin's `__del__` blocks: it is waited for no longer than the limit.
    public func collectGarbage(within limit: Duration = .seconds(5)) async {
        _ = await Self.within(limit) { once in
            reclaim { _ in
                PyGC_Collect()
                once.resume(true)
            }
        }
    }
}
