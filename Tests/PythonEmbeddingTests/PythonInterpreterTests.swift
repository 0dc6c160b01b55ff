import Glibc
import PythonCallCases
import PythonEmbedding
import Testing
import Threads

@Suite struct PythonInterpreterTests {
    @Test func startedTwiceItIsTheSame() throws {
        let first = try PythonInterpreter.start()
        let second = try PythonInterpreter.start(pythonPath: ["/ignored"])
        #expect(first === second)
        #expect(first.version.hasPrefix("3."))
    }

    @Test func startedFromManyThreadsItIsTheSame() async {
        await #expect(processExitsWith: .success) {
            let interpreters = await withTaskGroup(of: ObjectIdentifier?.self) { group in
                for _ in 0..<16 { group.addTask { (try? PythonInterpreter.start()).map { ObjectIdentifier($0) } } }
                return await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(interpreters.count == 1 && !interpreters.contains(nil))
        }
    }

    @Test func pythonPathComesFirst() async {
        await #expect(processExitsWith: .success) {
            _ = try PythonInterpreter.start(pythonPath: ["/first", "/second"])
            let result = try await PluginThread().callOnce(plugin("", "return sys.path[:2]", top: "import sys"))
            #expect(try result.text == #"["/first", "/second"]"#)
        }
    }

    @Test func everyThreadHasItsPlace() async throws {
        let python = try PythonInterpreter.start()
        let ids = BlockingQueue<UInt>()
        for _ in 0..<20 {
            try python.startThread(name: "attached") { attachment in
                for _ in 0..<100 { attachment.withGIL { _ in } }
                ids.push(attachment.threadID)
            }
        }
        let seen = (0..<20).map { _ in ids.pop() }
        #expect(!seen.contains(0))
    }

    @Test func isolatedFromTheEnvironment() async {
        await #expect(processExitsWith: .success) {
            setenv("PYTHONPATH", "/evil", 1)
            setenv("PYTHONHOME", "/evil", 1)
            setenv("PYTHONSTARTUP", "/evil", 1)
            let script = plugin(
                "",
                "return ['/evil' in sys.path, '' in sys.path, sys.flags.utf8_mode, sys.dont_write_bytecode, "
                    + "sys.flags.ignore_environment]", top: "import sys, ssl, sqlite3, ctypes, subprocess")
            let result = try await PluginThread().callOnce(script)
            #expect(try result.text == "[false, false, 1, true, 1]")
        }
    }

    /// `import signal` takes SIGINT over where it finds the default handler, also when a call does it.
    @Test func signalHandlersStayOurs() async {
        await #expect(processExitsWith: .success) {
            signal(SIGTERM, SIG_IGN)
            let watched = [SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGPIPE]
            let before = watched.map(handlerAddress)
            let thread = try PluginThread()
            #expect(watched.map(handlerAddress) == before)
            let script = """
                import asyncio, signal
                class Plugin:
                    def run(self):
                        import asyncio.subprocess, multiprocessing, faulthandler, subprocess
                        return subprocess.run(["true"]).returncode
                """
            let result = try await thread.callOnce(script)
            #expect(try result.text == "0")
            #expect(watched.map(handlerAddress) == before)
        }
    }

    @Test func crashesTakeTheProcess() async {
        await #expect(processExitsWith: .exitCode(7)) {
            _ = try await PluginThread().callOnce(plugin("", "import os; os._exit(7)"))
        }
        await #expect(processExitsWith: .signal(SIGSEGV)) {
            signal(SIGSEGV, SIG_DFL)
            _ = try await PluginThread().callOnce(plugin("", "ctypes.string_at(0)", top: "import ctypes"))
        }
    }
}

/// Of a signal's handler; nil is the default.
private func handlerAddress(_ signal: Int32) -> UInt {
    var action = sigaction()
    sigaction(signal, nil, &action)
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: UInt.self)
}
