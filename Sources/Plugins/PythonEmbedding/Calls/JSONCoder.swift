internal import CPython

/// Makes Python objects of the JSON of arguments, and JSON of results, on one thread. Only with the GIL, which every method
/// asks for.
struct JSONCoder {
    private let bootstrap: Bootstrap
    private let encoder: PyPointer
    /// What the encoder is inside of; has entries left over only after it raised.
    private let markers: PyPointer
    /// A list of one number: the bytes there is room for in what the encoder has made of objects.
    private let room: PyPointer

    /// - Throws: ``PythonEmbeddingError/bootstrapFailed(_:)``, out of memory.
    init(_ bootstrap: Bootstrap, gil: borrowing GIL) throws(PythonEmbeddingError) {
        self.bootstrap = bootstrap
        guard let made = PyObject_CallNoArgs(bootstrap.makeEncoder) else {
            throw .bootstrapFailed(gil.takeException(describedBy: bootstrap))
        }
        let owned = PythonObject(owning: made)
        // An `Encoder` of the module `results`.
        encoder = rb_tuple_item(owned.pointer, 0)
        markers = rb_tuple_item(owned.pointer, 1)
        room = rb_tuple_item(owned.pointer, 2)
        for object in [encoder, markers, room] { rb_incref(object) }
    }

    /// Gives its objects back. It must not be used afterwards.
    func close(gil: borrowing GIL) {
        for object in [encoder, markers, room] { rb_decref(object) }
    }

    // MARK: Arguments

    /// A new reference to a dictionary. Carried as an address, because results must be sendable.
    func decode(_ text: String, gil: borrowing GIL) -> Result<DecodedObject, CallFailure> {
        let trimmed = text.utf8.first == UInt8(ascii: "{") ? text : text.trimmingJSONWhitespace()
        guard let json = gil.string(trimmed) else { return .failure(argumentFailure(gil: gil)) }
        let ownedJSON = PythonObject(owning: json)
        guard let pair = rb_call_two(bootstrap.scanJSON, ownedJSON.pointer, bootstrap.zero) else {
            return .failure(argumentFailure(gil: gil))
        }
        let ownedPair = PythonObject(owning: pair)
        let object = rb_tuple_item(ownedPair.pointer, 0)!
        let end = PyLong_AsSsize_t(rb_tuple_item(ownedPair.pointer, 1))
        guard rb_is_dict(object) != 0 else {
            return .failure(.invalidArguments("they are not an object"))
        }
        if end != PyUnicode_GetLength(ownedJSON.pointer) {
            let rest = trimmed.unicodeScalars.dropFirst(end)
            guard rest.allSatisfy({ $0 == " " || $0 == "\n" || $0 == "\r" || $0 == "\t" }) else {
                return .failure(.invalidArguments("there is more after the object, at character \(end)"))
            }
        }
        rb_incref(object)
        return .success(DecodedObject(pointer: object))
    }

    struct DecodedObject {
        let pointer: PyPointer
    }

    // MARK: Results

    /// The JSON text of a value; nil for `None`. A `str` is handed on as it is.
    /// - Parameter limit: bytes of UTF-8 that the text may have.
    func encode(_ value: PyPointer, limit: Int, gil: borrowing GIL) -> Result<String?, CallFailure> {
        if rb_is_none(value) != 0 { return .success(nil) }
        if rb_is_str(value) != 0 {
            guard let text = gil.text(of: value, limit: limit) else {
                return .failure(.resultTooLarge(limit: limit))
            }
            return .success(text)
        }
        if rb_is_exact_int(value) != 0 { return decimal(value, limit: limit, gil: gil) }
        return encodeObject(value, limit: limit, gil: gil)
    }

    /// The JSON of an `int`, without the encoder's list of pieces.
    private func decimal(_ value: PyPointer, limit: Int, gil: borrowing GIL) -> Result<String?, CallFailure> {
        guard rb_json_room(value, limit, 0) >= 0 else { return .failure(.resultTooLarge(limit: limit)) }
        guard let digits = PyObject_Repr(value) else { return .failure(encodeFailure(gil: gil)) }
        let ownedDigits = PythonObject(owning: digits)
        guard let text = gil.text(of: ownedDigits.pointer, limit: limit) else {
            return .failure(.resultTooLarge(limit: limit))
        }
        return .success(text)
    }

    private func encodeObject(_ value: PyPointer, limit: Int, gil: borrowing GIL) -> Result<String?, CallFailure> {
        // Measured first: the encoder makes all of it before it returns. Mostly an upper bound is enough to know.
        var left = limit
        if rb_json_room(value, limit, 0) < 0 {
            left = rb_json_room(value, limit, 1)
            guard left >= 0 else { return .failure(.resultTooLarge(limit: limit)) }
        }
        guard let number = PyLong_FromSsize_t(left), PyList_SetItem(room, 0, number) == 0 else {
            return .failure(encodeFailure(limit: limit, gil: gil))
        }
        guard let text = encodedText(value) else {
            let failure = encodeFailure(limit: limit, gil: gil)
            // What the encoder was inside of when it raised would look like a circle to the next value.
            PyDict_Clear(markers)
            return .failure(failure)
        }
        let ownedText = PythonObject(owning: text)
        guard let text = gil.text(of: ownedText.pointer, limit: limit) else {
            return .failure(.resultTooLarge(limit: limit))
        }
        return .success(text)
    }

    /// A new reference to the JSON; the pieces that it was made of are gone. Nil with a Python error set.
    private func encodedText(_ value: PyPointer) -> PyPointer? {
        guard let chunks = rb_call_two(encoder, value, bootstrap.zero) else { return nil }
        let ownedChunks = PythonObject(owning: chunks)
        return PyUnicode_Join(bootstrap.emptyText, ownedChunks.pointer)
    }

    private func encodeFailure(limit: Int = 0, gil: borrowing GIL) -> CallFailure {
        if PyErr_ExceptionMatches(bootstrap.resultTooLarge) != 0 {
            PyErr_Clear()
            return .resultTooLarge(limit: limit)
        }
        let timeLimit = PyErr_ExceptionMatches(bootstrap.timeLimitExceeded) != 0
        let exception = gil.takeException(describedBy: bootstrap)
        return timeLimit ? .timeLimitExceeded(exception) : .resultNotJSON(exception)
    }

    private func argumentFailure(gil: borrowing GIL) -> CallFailure {
        // The scanner says "no value here" with a bare StopIteration.
        let bare = PyErr_ExceptionMatches(rb_exc_stop_iteration()) != 0
        let exception = gil.takeException(describedBy: bootstrap)
        return .invalidArguments(bare ? "a value is missing at character \(exception.message)" : exception.message)
    }
}

extension String {
    fileprivate func trimmingJSONWhitespace() -> String {
        String(unicodeScalars.drop { $0 == " " || $0 == "\n" || $0 == "\r" || $0 == "\t" })
    }
}
