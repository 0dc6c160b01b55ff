internal import CPython

/// What a call writes: the whole of it at its end, and to whoever comes to watch it.
extension CallSlot {
    /// Has the call that runs here tell what it writes from now on, and first what it has written. One that is still to come
    /// tells from its beginning on. Does nothing where somebody is told already.
    ///
    /// - Parameter observer: called with the GIL held for what was written before: it must not wait for it.
    public func observe(_ id: UInt64, _ observer: @escaping OutputObserver, gil: borrowing GIL) {
        guard let running, running.id == id else {
            // It is still to come, or has ended: numbers are never used twice.
            earlyObserver = (id, observer)
            return
        }
        guard !isObserved else { return }
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

    /// Who came to watch a call before it began.
    func takeEarlyObserver(of id: UInt64) -> OutputObserver? {
        defer { earlyObserver = nil }
        return earlyObserver.flatMap { $0.id == id ? $0.observer : nil }
    }

    /// Has what programs of the running call write told when it comes, and not with the plugin's next line.
    func tellOfPrograms() {
        guard let programs, let id = running?.id else { return }
        programs.setNotice(
            ProgramNotice { [weak self] notice in
                self?.interpreter.enqueue { [weak self] gil in
                    notice.reset()
                    self?.relayPrograms(of: id, gil: gil)
                }
            })
    }

    private func relayPrograms(of id: UInt64, gil: borrowing GIL) {
        guard let running, running.id == id else { return }
        let call = PythonObject(borrowing: running.call)
        guard let result = PyObject_CallOneArg(bootstrap.relayPrograms, call.pointer) else { return PyErr_Clear() }
        rb_decref(result)
    }

    func finishOutput(_ call: PyPointer, gil: borrowing GIL) -> (stdout: String, stderr: String) {
        // From here on what threads of the call write goes to the host.
        if PyObject_SetAttr(call, bootstrap.finishedName, rb_true()) != 0 { PyErr_Clear() }
        // Most calls write nothing, and reading two attributes is cheaper than a call of a Python function.
        if isNone(bootstrap.outName, of: call) && isNone(bootstrap.errName, of: call) { return ("", "") }
        guard let pair = PyObject_CallOneArg(bootstrap.finishOutput, call) else {
            PyErr_Clear()
            return ("", "")
        }
        let owned = PythonObject(owning: pair)
        return (
            gil.text(ofBytes: rb_tuple_item(owned.pointer, 0)), gil.text(ofBytes: rb_tuple_item(owned.pointer, 1))
        )
    }

    private func isNone(_ name: PyPointer, of call: PyPointer) -> Bool {
        guard let attribute = PyObject_GetAttr(call, name) else {
            PyErr_Clear()
            return true
        }
        let owned = PythonObject(owning: attribute)
        return rb_is_none(owned.pointer) != 0
    }
}
