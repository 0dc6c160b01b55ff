internal import CPython
import Threads

/// The module `host`: the builtin functions through which the agent's own Python calls back into Swift.
enum HostFunctions {
    private static let host = BlockingLock<any PluginHost>(DetachedHost())

    static func setHost(_ newHost: any PluginHost) {
        host.withLock { $0 = newHost }
    }

    /// Puts them into the module's dictionary. False with a Python error set.
    static func define(in module: PyPointer, gil: borrowing GIL) -> Bool {
        define("request", in: module) { _, arguments, count in HostFunctions.request(arguments, count) }
            && define("measure", in: module) { _, arguments, count in HostFunctions.measure(arguments, count) }
            && define("thread_owner", in: module) { _, _, _ in HostFunctions.threadOwner() }
            && define("thread_began", in: module) { _, arguments, count in
                HostFunctions.threadBegan(arguments, count)
            }
            && define("thread_ended", in: module) { _, _, _ in HostFunctions.threadEnded() }
            && define("begin_program", in: module) { _, arguments, count in
                ProgramFunctions.beginProgram(arguments, count)
            }
            && define("take_output", in: module) { _, arguments, count in
                ProgramFunctions.takeOutput(arguments, count)
            }
            && define("emit", in: module) { _, arguments, count in HostFunctions.emit(arguments, count) }
            && set("sources", sources(gil: gil), in: module)
    }

    private static func define(_ name: StaticString, in module: PyPointer, _ body: rb_fastcall) -> Bool {
        // Never freed: CPython keeps the name's address.
        let pointer = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        return set(String(cString: pointer), rb_make_function(pointer, body), in: module)
    }

    /// Takes over the reference.
    private static func set(_ name: String, _ value: PyPointer?, in module: PyPointer) -> Bool {
        guard let value else { return false }
        let owned = PythonObject(owning: value)
        return PyDict_SetItemString(module, name, owned.pointer) == 0
    }

    /// A new dictionary of the sources that other processes are sent, by the names of their modules.
    private static func sources(gil: borrowing GIL) -> PyPointer? {
        guard let table = PyDict_New() else { return nil }
        for (name, source) in EmbeddedPython.sentSources {
            guard set(name, gil.string(decoding: source), in: table) else {
                rb_decref(table)
                return nil
            }
        }
        return table
    }

    /// `measure(value, room)` → what of `room` bytes is left when the value's JSON has been written; less than 0 where it
    /// takes more.
    private static func measure(_ arguments: UnsafePointer<PyPointer?>?, _ count: Int) -> PyPointer? {
        guard let arguments, count == 2, let value = arguments[0], let room = arguments[1] else {
            rb_set_error(rb_exc_type_error(), "measure takes 2 arguments")
            return nil
        }
        return PyLong_FromSsize_t(rb_json_room(value, PyLong_AsSsize_t(room), 1))
    }

    /// `emit(tap, stream, start, text)`: a call has written something, so many characters from the beginning of the stream,
    /// and is observed.
    private static func emit(_ arguments: UnsafePointer<PyPointer?>?, _ count: Int) -> PyPointer? {
        guard let arguments, count == 4, let tap = arguments[0], let stream = arguments[1], let start = arguments[2],
            let text = arguments[3]
        else {
            rb_set_error(rb_exc_type_error(), "emit takes 4 arguments")
            return nil
        }
        let gil = GIL()
        let number = UInt64(truncatingIfNeeded: PyLong_AsLong(tap))
        let descriptor = UInt64(truncatingIfNeeded: PyLong_AsLong(stream))
        let place = PyLong_AsLong(start)
        if PyErr_Occurred() != nil { return nil }
        if let tap = OutputTap.find(number), let stream = StandardStream(rawValue: descriptor) {
            let text = gil.text(of: text)
            gil.released { tap.emit(stream, text, at: place) }
        }
        return PythonObject(borrowing: rb_none()).take()
    }

    /// `thread_owner()` → the plugin that the current thread belongs to, or None.
    private static func threadOwner() -> PyPointer? {
        guard let plugin = PluginThreads.current?.plugin else { return PythonObject(borrowing: rb_none()).take() }
        return GIL().string(plugin)
    }

    /// `thread_began(plugin_id or None, name)`: the current thread is one that a plugin started.
    private static func threadBegan(_ arguments: UnsafePointer<PyPointer?>?, _ count: Int) -> PyPointer? {
        guard let arguments, count == 2, let plugin = arguments[0], let name = arguments[1] else {
            rb_set_error(rb_exc_type_error(), "thread_began takes 2 arguments")
            return nil
        }
        let gil = GIL()
        PluginThreads.begin(plugin: rb_is_none(plugin) != 0 ? nil : gil.text(of: plugin), name: gil.text(of: name))
        return PythonObject(borrowing: rb_none()).take()
    }

    /// `thread_ended()`: the current thread runs no plugin's code any more.
    private static func threadEnded() -> PyPointer? {
        PluginThreads.remove(PythonInterpreter.currentThreadNumber)
        return PythonObject(borrowing: rb_none()).take()
    }

    /// `request(plugin_id, method, path, body)` → `(status or None, text, code or None)`.
    private static func request(_ arguments: UnsafePointer<PyPointer?>?, _ count: Int) -> PyPointer? {
        let gil = GIL()
        guard let arguments, count == 4, let plugin = arguments[0], let method = arguments[1], let path = arguments[2],
            let body = arguments[3]
        else {
            rb_set_error(rb_exc_type_error(), "request takes 4 arguments")
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
