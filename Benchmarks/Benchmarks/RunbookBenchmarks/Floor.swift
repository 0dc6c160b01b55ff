import CPython
import Glibc
import PythonEmbedding

/// What a call costs at the very least: `json.loads`, `PyObject_Call` and `json.dumps` in a bare loop.
enum Floor {
    static func perCall(repetitions: Int) async -> Int {
        guard let python = try? PythonInterpreter.start() else { return 0 }
        return await python.perform { _ in
            let json = PyImport_ImportModule("json")!
            let loads = PyObject_GetAttrString(json, "loads")!
            let dumps = PyObject_GetAttrString(json, "dumps")!
            let globals = PyDict_New()!
            PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins())
            let code = Py_CompileString(ExecutorCalls.script + "\nmethod = Plugin().square\n", "floor", Py_file_input)!
            rb_decref(PyEval_EvalCode(code, globals, globals)!)
            let method = PyDict_GetItemString(globals, "method")!
            let empty = PyTuple_New(0)!
            let start = threadTime()
            for _ in 0..<repetitions {
                let text = PyUnicode_FromString(ExecutorCalls.arguments)!
                let keywords = PyObject_CallOneArg(loads, text)!
                let result = PyObject_Call(method, empty, keywords)!
                let encoded = PyObject_CallOneArg(dumps, result)!
                var size = 0
                precondition(PyUnicode_AsUTF8AndSize(encoded, &size) != nil)
                for object in [text, keywords, result, encoded] { rb_decref(object) }
            }
            let time = threadTime() - start
            for object in [json, loads, dumps, globals, code, empty] { rb_decref(object) }
            return time / repetitions
        }
    }

    /// Nanoseconds that this thread was on a processor, which is what the worker's calls are measured in too
    /// (clock_gettime(2)).
    private static func threadTime() -> Int {
        // As two numbers: whose `timespec` it is depends on what else is in the build.
        var time = (seconds: 0, nanoseconds: 0)
        _ = withUnsafeMutablePointer(to: &time) { pointer in
            pointer.withMemoryRebound(to: timespec.self, capacity: 1) { clock_gettime(CLOCK_THREAD_CPUTIME_ID, $0) }
        }
        return time.seconds * 1_000_000_000 + time.nanoseconds
    }
}
