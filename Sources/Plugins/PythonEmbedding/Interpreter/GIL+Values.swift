internal import CPython

extension GIL {
    /// The text of a `str`, with lone surrogates as `?`; of anything else the empty text.
    func text(of object: PyPointer) -> String {
        guard rb_is_str(object) != 0 else { return "" }
        var size: Py_ssize_t = 0
        if let start = PyUnicode_AsUTF8AndSize(object, &size) {
            return String(decoding: UnsafeRawBufferPointer(start: start, count: size), as: UTF8.self)
        }
        // Lone surrogates have no UTF-8.
        PyErr_Clear()
        guard let encoded = PyUnicode_AsEncodedString(object, "utf-8", "replace") else {
            PyErr_Clear()
            return ""
        }
        let owned = PythonObject(owning: encoded)
        return text(ofBytes: owned.pointer)
    }

    /// The text of a `str`, or nil where it has more bytes of UTF-8 than the limit.
    func text(of object: PyPointer, limit: Int) -> String? {
        guard rb_is_str(object) != 0 else { return "" }
        let length = PyUnicode_GetLength(object)
        guard length <= limit else { return nil }
        // No character has more than four bytes.
        guard length > limit / 4 else { return text(of: object) }
        guard rb_utf8_size(object, limit) <= limit else { return nil }
        if rb_is_ascii(object) != 0 { return text(of: object) }
        // Not `text(of:)`: the object would keep its UTF-8 as long as the plugin keeps the object.
        guard let encoded = PyUnicode_AsEncodedString(object, "utf-8", "replace") else {
            PyErr_Clear()
            return nil
        }
        let owned = PythonObject(owning: encoded)
        return text(ofBytes: owned.pointer)
    }

    /// The UTF-8 text of a `bytes` object.
    func text(ofBytes object: PyPointer) -> String {
        guard rb_is_bytes(object) != 0 else { return "" }
        let size = PyBytes_Size(object)
        guard size > 0, let start = PyBytes_AsString(object) else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: start, count: size), as: UTF8.self)
    }

    /// A new `str`, or nil with a Python error set.
    func string(_ text: String) -> PyPointer? {
        var text = text
        return text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { PyUnicode_FromStringAndSize($0.baseAddress, $0.count) }
        }
    }

    /// A new `str` of bytes that should be UTF-8; what isn't is replaced by U+FFFD.
    func string(decoding bytes: [UInt8]) -> PyPointer? {
        bytes.withUnsafeBytes { buffer in
            PyUnicode_DecodeUTF8(
                buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count, "replace")
        }
    }

    /// A new `bytes`, or nil with a Python error set.
    func bytes(_ content: [UInt8]) -> PyPointer? {
        content.withUnsafeBytes { buffer in
            PyBytes_FromStringAndSize(buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
        }
    }

    /// A new tuple that takes over the references given; nil with a Python error set where one of them is nil.
    func tuple(_ items: PyPointer?...) -> PyPointer? {
        guard !items.contains(nil), let tuple = PyTuple_New(items.count) else {
            for item in items.compactMap({ $0 }) { rb_decref(item) }
            return nil
        }
        for (index, item) in items.enumerated() { PyTuple_SetItem(tuple, index, item) }
        return tuple
    }

    /// The exception being raised, taken; a placeholder where C code failed without setting one.
    func takeException(describedBy bootstrap: Bootstrap) -> PythonException {
        guard let pointer = rb_take_exception() else {
            return PythonException(
                type: "SystemError", message: "a function failed without an exception", traceback: nil)
        }
        let exception = PythonObject(owning: pointer)
        return bootstrap.describe(exception.pointer, gil: self)
    }
}
