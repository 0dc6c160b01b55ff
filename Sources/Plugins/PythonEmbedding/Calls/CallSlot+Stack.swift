internal import CPython

extension CallSlot {
    /// Where the call that runs here is in its code, and where the threads are that it has started: text like a traceback.
    /// Nil where another call runs here, or none.
    public func stack(of id: UInt64, gil: borrowing GIL) -> String? {
        guard let running, running.id == id, let newNumber = PyLong_FromUnsignedLong(threadID) else {
            PyErr_Clear()
            return nil
        }
        let call = PythonObject(borrowing: running.call)
        guard let arguments = gil.tuple(call.take(), newNumber) else {
            PyErr_Clear()
            return nil
        }
        let owned = PythonObject(owning: arguments)
        // A collection would run what plugins' objects do when they go, for which nobody may wait here.
        let collects = PyGC_Disable() != 0
        defer { if collects { PyGC_Enable() } }
        guard let pair = PyObject_CallObject(bootstrap.describeCall, owned.pointer) else {
            PyErr_Clear()
            return nil
        }
        let text = gil.text(of: rb_tuple_item(pair, 0))
        let held = Held(pair: pair)
        interpreter.reclaim { _ in rb_decref(held.pair) }
        return text
    }

    /// Unchecked because it only carries the pointer to the thread that gives it back.
    private struct Held: @unchecked Sendable {
        let pair: PyPointer
    }
}
