internal import CPython

/// What plugins may replace in modules that all of them share: `sys.stdout` and `sys.stderr`, the hooks for exceptions
/// nobody catches, what new threads are traced by, the filters of warnings.
///
/// A plugin may do so for a while (`contextlib.redirect_stdout`, `warnings.catch_warnings`) or for good
/// (`sys.stdout = open(…)`); either concerns the others too. What was there is put back as soon as no call runs any more
/// that ran when the replacement was seen: it was made by one of those. Unchecked because everything is only touched with
/// the GIL.
final class SharedAttributes: @unchecked Sendable {
    private struct Attribute {
        /// The module's dictionary; there as long as the interpreter.
        let module: PyPointer
        let name: PyPointer
        let ours: PyPointer
        /// The replacement that was seen, and the calls one of which may have made it.
        var foreign: (object: PyPointer, suspects: Set<UInt64>)?
    }

    private var attributes: [Attribute] = []
    /// The slots that may be running a call.
    private var slots: [ObjectIdentifier: CallSlot] = [:]

    private static let names = [
        ("sys", ["stdout", "stderr", "stdin", "unraisablehook"]),
        ("threading", ["excepthook", "_trace_hook", "_profile_hook"]),
        ("warnings", ["filters", "showwarning"]),
    ]

    init(gil: borrowing GIL) throws(PythonEmbeddingError) {
        for (moduleName, names) in Self.names {
            guard let module = PyImport_ImportModule(moduleName), let content = PyModule_GetDict(module) else {
                throw .initializationFailed(reason: "the module \(moduleName) can't be imported")
            }
            for text in names {
                guard let name = PyUnicode_InternFromString(text), let object = PyDict_GetItemWithError(content, name)
                else { throw .initializationFailed(reason: "\(moduleName).\(text) is missing") }
                rb_incref(object)
                attributes.append(Attribute(module: content, name: name, ours: object))
            }
        }
    }

    func add(_ slot: CallSlot) {
        slots[ObjectIdentifier(slot)] = slot
    }

    func remove(_ slot: CallSlot) {
        slots[ObjectIdentifier(slot)] = nil
    }

    /// To be called when a call has ended.
    func check(gil: borrowing GIL) {
        for index in attributes.indices {
            let current = PyDict_GetItemWithError(attributes[index].module, attributes[index].name)
            if current == attributes[index].ours {
                if attributes[index].foreign != nil { attributes[index].foreign = nil }
            } else {
                restore(index, from: current)
            }
        }
    }

    private func restore(_ index: Int, from current: PyPointer?) {
        let running = Set(slots.values.compactMap(\.runningCall))
        var suspects = running
        if let foreign = attributes[index].foreign, foreign.object == current {
            suspects = foreign.suspects.intersection(running)
        }
        guard suspects.isEmpty else {
            attributes[index].foreign = current.map { ($0, suspects) }
            return
        }
        attributes[index].foreign = nil
        if PyDict_SetItem(attributes[index].module, attributes[index].name, attributes[index].ours) != 0 {
            PyErr_Clear()
        }
    }
}
