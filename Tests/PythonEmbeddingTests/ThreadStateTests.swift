import PythonCallCases
import PythonEmbedding
import Testing

/// What one call leaves behind on its thread, or in modules that all share, and the next must not find.
@Suite struct ThreadStateTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// Bodies of methods: what is done, and what then has to be true.
        let leave: String
        let look: String
        /// Whether another call of the same plugin must not find it either.
        var isTheCallsAlone = true
        var testDescription: String { name }
    }

    private static let cases = [
        Case(
            name: "sys.settrace", leave: "sys.settrace(self.spin)", look: "self.helper()\nreturn sys.gettrace() is None"
        ),
        Case(
            name: "sys.setprofile", leave: "sys.setprofile(self.spin)",
            look: "self.helper()\nreturn sys.getprofile() is None"),
        Case(
            name: "threading.settrace", leave: "threading.settrace(self.spin)",
            look: "thread = threading.Thread(target=self.helper)\nthread.start()\nthread.join()\nreturn True"),
        Case(
            name: "threading.setprofile", leave: "threading.setprofile(self.spin)",
            look: "thread = threading.Thread(target=self.helper)\nthread.start()\nthread.join()\nreturn True"),
        Case(
            name: "threading.excepthook", leave: "threading.excepthook = None",
            look: "return threading.excepthook is not None"),
        Case(
            name: "sys.unraisablehook", leave: "sys.unraisablehook = None",
            look: "return sys.unraisablehook is not None"),
        Case(
            name: "decimal context", leave: "decimal.getcontext().prec = 3",
            look: "return decimal.getcontext().prec == 28"),
        Case(
            name: "context variable", leave: "variable.set('left')", look: "return variable.get('none') == 'none'"),
        Case(
            name: "catch_warnings that is never left", leave: "warnings.catch_warnings().__enter__()",
            look: "return warnings.filters is filters"),
        Case(
            name: "locale of the thread",
            leave: """
                library = ctypes.CDLL(None)
                library.newlocale.restype = library.uselocale.restype = ctypes.c_void_p
                library.uselocale(ctypes.c_void_p(library.newlocale(0x1FBF, b"C", None)))
                """,
            look: """
                library = ctypes.CDLL(None)
                library.uselocale.restype = ctypes.c_void_p
                return library.uselocale(None) == ctypes.c_void_p(-1).value
                """),
        Case(
            name: "event loop of asyncio", leave: "asyncio.set_event_loop(asyncio.new_event_loop())",
            look: """
                try: asyncio.get_event_loop_policy().get_event_loop()
                except RuntimeError: return True
                """, isTheCallsAlone: false),
        Case(
            name: "running loop of asyncio",
            leave: "asyncio._set_running_loop(asyncio.new_event_loop())",
            look: "return asyncio._get_running_loop() is None", isTheCallsAlone: false),
        Case(
            name: "signal mask", leave: "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
            look: "return signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])", isTheCallsAlone: false),
    ]

    private static func script(_ testCase: Case) -> String {
        func indented(_ body: String) -> String {
            body.split(separator: "\n").map { "        \($0)" }.joined(separator: "\n")
        }
        return """
            import asyncio, contextvars, ctypes, decimal, signal, sys, threading, warnings
            filters = warnings.filters
            variable = contextvars.ContextVar("left")
            class Plugin:
                def spin(self, frame, event, argument):
                    # Of the call that asked for it, the end is told too.
                    while frame.f_code.co_name != "leave": pass
                def helper(self): pass
                def leave(self):
            \(indented(testCase.leave))
                def look(self):
            \(indented(testCase.look))
            """
    }

    /// In a process of its own: `sys` and `threading` are everybody's.
    @Test(arguments: cases.indices)
    func isGoneWithTheCall(_ index: Int) async {
        await #expect(processExitsWith: .success) { [index = index as Int] in
            let testCase = Self.cases[index]
            let thread = try PluginThread()
            let first = try await thread.load(Self.script(testCase), id: "first", path: "/first.py").get().plugin
            let second = try await thread.load(Self.script(testCase), id: "second", path: "/second.py").get().plugin
            let left = await thread.call("leave", of: first)
            #expect(left.failure == nil, "\(left)")
            if testCase.isTheCallsAlone { #expect(try await thread.call("look", of: first).text == "true") }
            #expect(try await thread.call("look", of: second).text == "true")
        }
    }

    /// A plugin whose constructor sets an event loop finds it in its calls.
    @Test func aPluginsOwnEventLoopStays() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = """
            import asyncio
            class Plugin:
                def __init__(self):
                    self.loop = asyncio.new_event_loop()
                    asyncio.set_event_loop(self.loop)
                def use(self): return asyncio.get_event_loop_policy().get_event_loop() is self.loop
            """
        let plugin = try await thread.load(script, id: "loop").get().plugin
        #expect(try await thread.call("use", of: plugin).text == "true")
    }

    // MARK: Threads that a call starts

    @Test func anExceptionOfAThreadIsInTheOutputOfItsCall() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = plugin(
            "", "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()",
            top: "import threading")
        let result = try await thread.callOnce(script)
        #expect(result.stderr.contains("ZeroDivisionError: division by zero"))
        #expect(result.stderr.contains("in <lambda>"))
    }

    // MARK: Signals

    /// Whatever a plugin raises against the process, it lives: but for what ends it by intent.
    @Test func signalsThatPythonCanRaiseDoNotEndTheProcess() async {
        await #expect(processExitsWith: .success) {
            let body = """
                numbers = [signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGUSR1, signal.SIGUSR2,
                           signal.SIGPOLL, signal.SIGPWR, signal.SIGXCPU, signal.SIGXFSZ,
                           *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)]
                for number in numbers: os.kill(os.getpid(), number)
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)
                signal.setitimer(signal.ITIMER_PROF, 0.01)
                end = time.process_time() + 0.1
                while time.process_time() < end: pass
                time.sleep(0.1)
                # What it starts has the default again; Python itself ignores SIGXFSZ.
                numbers.remove(signal.SIGXFSZ)
                program = "import signal, sys; print(all(signal.getsignal(int(n)) == signal.SIG_DFL for n in sys.argv[1:]))"
                command = [sys.executable, "-c", program, *(str(int(number)) for number in numbers)]
                return subprocess.run(command, capture_output=True, text=True).stdout
                """
            let result = try await PluginThread().callOnce(
                plugin("", body, top: "import os, signal, subprocess, sys, time"))
            #expect(try result.text == "True\n")
        }
    }
}
