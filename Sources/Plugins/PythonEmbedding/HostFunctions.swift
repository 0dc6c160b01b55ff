internal import CPython
internal import Synchronization

/// The builtin functions through which the bootstrap script calls back into Swift.
enum HostFunctions {
    private static let host = Mutex<any PluginHost>(DetachedHost())

    /// Descriptors for what calls write, beside what is kept of it, by the names of the captures; -1 for none.
    static let echo = Mutex<(out: Int32, err: Int32)>((-1, -1))

    static func setHost(_ newHost: any PluginHost) {
        host.withLock { $0 = newHost }
    }

    /// `host_request(plugin_id, method, path, body)` → `(status or None, text, code or None)`.
    ///
    /// - Returns: nil with a Python error set.
    static func makeRequestFunction(gil: borrowing GIL) -> PythonObject? {
        // Never freed: CPython keeps the name's address.
        let name = StaticString("host_request")
        let pointer = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return rb_make_function(pointer) { _, arguments, count in
            HostFunctions.request(arguments, count)
        }.map { PythonObject(owning: $0) }
    }

    /// `host_measure(value, room)` → what of `room` bytes is left when the value's JSON has been written; less than 0
    /// where it takes more.
    ///
    /// - Returns: nil with a Python error set.
    static func makeMeasureFunction(gil: borrowing GIL) -> PythonObject? {
        let name = StaticString("host_measure")
        let pointer = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return rb_make_function(pointer) { _, arguments, count in
            guard let arguments, count == 2, let value = arguments[0], let room = arguments[1] else {
                rb_set_error(rb_exc_type_error(), "host_measure takes 2 arguments")
                return nil
            }
            return PyLong_FromSsize_t(rb_json_room(value, PyLong_AsSsize_t(room), 1))
        }.map { PythonObject(owning: $0) }
    }

    /// `host_thread_owner()` → the plugin that the current thread belongs to, or None.
    static func makeThreadOwnerFunction(gil: borrowing GIL) -> PythonObject? {
        let name = StaticString("host_thread_owner")
        let pointer = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return rb_make_function(pointer) { _, _, _ in
            guard let plugin = PluginThreads.current?.plugin else { return PythonObject(borrowing: rb_none()).take() }
            return GIL().string(plugin)
        }.map { PythonObject(owning: $0) }
    }

    /// `host_thread_began(plugin_id or None, name)`: the current thread is one that a plugin started.
    static func makeThreadBeganFunction(gil: borrowing GIL) -> PythonObject? {
        let name = StaticString("host_thread_began")
        let pointer = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return rb_make_function(pointer) { _, arguments, count in
            guard let arguments, count == 2, let plugin = arguments[0], let name = arguments[1] else {
                rb_set_error(rb_exc_type_error(), "host_thread_began takes 2 arguments")
                return nil
            }
            let gil = GIL()
            PluginThreads.begin(
                plugin: rb_is_none(plugin) != 0 ? nil : gil.text(of: plugin), name: gil.text(of: name))
            return PythonObject(borrowing: rb_none()).take()
        }.map { PythonObject(owning: $0) }
    }

    /// `host_thread_ended()`: the current thread runs no plugin's code any more.
    static func makeThreadEndedFunction(gil: borrowing GIL) -> PythonObject? {
        let name = StaticString("host_thread_ended")
        let pointer = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return rb_make_function(pointer) { _, _, _ in
            PluginThreads.remove(PythonInterpreter.currentThreadNumber)
            return PythonObject(borrowing: rb_none()).take()
        }.map { PythonObject(owning: $0) }
    }

    private static func request(_ arguments: UnsafePointer<PyPointer?>?, _ count: Int) -> PyPointer? {
        let gil = GIL()
        guard let arguments, count == 4, let plugin = arguments[0], let method = arguments[1], let path = arguments[2],
            let body = arguments[3]
        else {
            rb_set_error(rb_exc_type_error(), "host_request takes 4 arguments")
            return nil
        }
        let pluginText = gil.text(of: plugin)
        let methodText = gil.text(of: method)
        let pathText = gil.text(of: path)
        let bodyText = rb_is_none(body) != 0 ? nil : gil.text(of: body)
        // Copied out of the lock: the request may take minutes.
        let host = host.withLock { $0 }
        let response = gil.released {
            host.request(plugin: pluginText, method: methodText, path: pathText, body: bodyText)
        }
        switch response {
        case .answered(let status, let bytes):
            return gil.tuple(
                PyLong_FromLong(status), gil.string(decoding: bytes), PythonObject(borrowing: rb_none()).take())
        case .failed(let code, let message):
            return gil.tuple(
                PythonObject(borrowing: rb_none()).take(), gil.string(message), gil.string(code))
        }
    }
}
