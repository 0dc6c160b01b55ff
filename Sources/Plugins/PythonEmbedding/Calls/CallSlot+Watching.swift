internal import CPython

/// A call that somebody comes to watch.
extension CallSlot {
    /// Has the call that runs here tell what it writes from now on, and first what it has written. Does nothing where that call
    /// doesn't run here now, or somebody is told already.
    ///
    /// - Parameter observer: called with the GIL held for what was written before: it must not wait for it.
    public func observe(_ id: UInt64, _ observer: @escaping OutputObserver, gil: borrowing GIL) {
        guard let running, running.id == id, !isObserved else { return }
        let tap = OutputTap(observer, isLate: true)
        guard let newNumber = PyLong_FromLong(Int(tap.number)) else { return PyErr_Clear() }
        setLateTap(tap)
        let call = PythonObject(borrowing: running.call)
        guard let arguments = gil.tuple(call.take(), newNumber) else { return PyErr_Clear() }
        let owned = PythonObject(owning: arguments)
        guard let result = PyObject_CallObject(bootstrap.attachOutput, owned.pointer) else { return PyErr_Clear() }
        let texts = PythonObject(owning: result)
        tap.begin(
            output: gil.text(of: rb_tuple_item(texts.pointer, 0)), errors: gil.text(of: rb_tuple_item(texts.pointer, 1))
        )
    }
}
