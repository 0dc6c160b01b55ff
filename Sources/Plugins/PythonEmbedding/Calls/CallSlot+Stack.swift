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
        guard let text = PyObject_CallObject(bootstrap.describeCall, owned.pointer) else {
            PyErr_Clear()
            return nil
        }
        let ownedText = PythonObject(owning: text)
        return gil.text(of: ownedText.pointer)
    }
}
