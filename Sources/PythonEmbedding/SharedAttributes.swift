internal import CPython

/// `sys.stdout` and `sys.stderr`, which find out whose output it is, and what happens when a plugin replaces them.
///
/// A plugin may do so for a while (`contextlib.redirect_stdout`) or for good (`sys.stdout = open(…)`); either takes
/// the others' output along, because `sys` is shared. Theirs are put back as soon as no call runs any more that ran
/// when the replacement was seen: it was made by one of those. Unchecked because everything is only touched with the
/// GIL.
final class StandardStreams: @unchecked Sendable {
    private struct Stream {
        let name: PyPointer
        let ours: PyPointer
        /// The replacement that was seen, and the calls one of which may have made it.
        var foreign: (stream: PyPointer, suspects: Set<UInt64>)?
    }

    /// Of the module `sys`; borrowed, and there as long as the interpreter.
    private let sys: PyPointer
    private var streams: [Stream] = []
    /// The slots that may be running a call.
    private var slots: [ObjectIdentifier: CallSlot] = [:]

    init(gil: borrowing GIL) throws(PythonEmbeddingError) {
        guard let module = PyImport_ImportModule("sys") else {
            throw .initializationFailed(reason: "the module sys can't be imported")
        }
        sys = PyModule_GetDict(module)
        for text in ["stdout", "stderr"] {
            guard let name = PyUnicode_InternFromString(text), let stream = PyDict_GetItemWithError(sys, name) else {
                throw .initializationFailed(reason: "sys.\(text) is missing")
            }
            rb_incref(stream)
            streams.append(Stream(name: name, ours: stream))
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
        for index in streams.indices {
            let current = PyDict_GetItemWithError(sys, streams[index].name)
            if current == streams[index].ours {
                if streams[index].foreign != nil { streams[index].foreign = nil }
            } else {
                restore(index, from: current)
            }
        }
    }

    private func restore(_ index: Int, from current: PyPointer?) {
        let running = Set(slots.values.compactMap(\.runningCall))
        var suspects = running
        if let foreign = streams[index].foreign, foreign.stream == current {
            suspects = foreign.suspects.intersection(running)
        }
        guard suspects.isEmpty else {
            streams[index].foreign = current.map { ($0, suspects) }
            return
        }
        streams[index].foreign = nil
        if PyDict_SetItem(sys, streams[index].name, streams[index].ours) != 0 { PyErr_Clear() }
    }
}
