internal import CPython

/// A pointer to a Python object, owned or borrowed as the C API's documentation of the function says.
typealias PyPointer = UnsafeMutablePointer<PyObject>

/// One owned reference to a Python object, given back when the value's life ends.
///
/// Bind it to a name: a temporary is given back as soon as its pointer is read, before the call that uses it.
/// It is neither copyable nor sendable: it lives inside the closure that holds the ``GIL`` and can't leave it.
public struct PythonObject: ~Copyable {
    let pointer: PyPointer

    /// Takes over a new reference.
    init(owning pointer: PyPointer) {
        self.pointer = pointer
    }

    /// Makes a reference of its own to a borrowed object.
    init(borrowing pointer: PyPointer) {
        rb_incref(pointer)
        self.pointer = pointer
    }

    deinit {
        rb_decref(pointer)
    }

    /// Hands the reference to somebody else, such as a C function that steals it.
    consuming func take() -> PyPointer {
        let pointer = pointer
        discard self
        return pointer
    }
}

@available(*, unavailable)
extension PythonObject: Sendable {}
