import PythonEmbedding
import Testing

extension CallCase {
    private static func writing(
        _ name: String, _ body: String, stdout: String = "", stderr: String = "", value: String? = nil, top: String = ""
    ) -> CallCase {
        CallCase(
            name: name, script: plugin("", body, top: top), expectation: .value(value), stdout: stdout, stderr: stderr)
    }

    static let output: [CallCase] = [
        writing("nothing", "pass"),
        writing("print", "print('a', 'b')\nprint('ü')", stdout: "a b\nü\n"),
        writing("standard error", "import sys; print('e', file=sys.stderr)", stderr: "e\n"),
        writing(
            "log records", "import logging; logging.getLogger('part').info('n %d', 3); logging.debug('no')",
            stderr: "INFO part: n 3\n"),
        writing("bytes", "import sys; sys.stdout.buffer.write('ü'.encode())", stdout: "ü"),
        writing(
            "a character in two writes",
            "import sys\nsys.stdout.buffer.write(b'\\xc3')\nsys.stdout.buffer.write(b'\\xbc')\nreturn None",
            stdout: "ü"),
        writing(
            "half a character", "import sys\nsys.stdout.buffer.write(b'\\xc3')\nreturn None", stdout: "\u{FFFD}"),
        writing("lone surrogate", "print('\\ud800')", stdout: "?\n"),
        writing("close", "import sys; sys.stdout.close(); print('on')", stdout: "on\n"),
        writing(
            "a wrapper around the buffer",
            "import io, sys\nwrapper = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nwrapper.write('a')\n"
                + "del wrapper\nio.TextIOWrapper(sys.stdout.buffer).write('b')\nreturn None", stdout: "ab"),
        writing("reconfigure", "import sys; sys.stdout.reconfigure(line_buffering=True); print(1)", stdout: "1\n"),
        writing("standard input is empty", "import sys; return repr(sys.stdin.read())", value: "''"),
        CallCase(
            name: "input()", script: plugin("", "return input()"), expectation: .raised("EOFError")),
        writing(
            "a thread of the call",
            "t = threading.Thread(target=lambda: print('in thread')); t.start(); t.join()", stdout: "in thread\n",
            top: "import threading"),
        writing(
            "a Thread with run of its own", "t = T(); t.start(); t.join(); print('run' in t.__dict__)",
            stdout: "own\nFalse\n",
            top: "import threading\nclass T(threading.Thread):\n    def run(self): print('own')"),
        writing(
            "a Thread with start of its own", "t = T(); t.start(); t.join()", stdout: "start\nown\n",
            top: "import threading\nclass T(threading.Thread):\n"
                + "    def start(self):\n        print('start')\n        super().start()\n"
                + "    def run(self): print('own')"),
        writing(
            "run set on the instance",
            "t = threading.Thread(); t.run = lambda: print('set'); t.start(); t.join()", stdout: "set\n",
            top: "import threading"),
        writing(
            "a Thread started twice",
            "t = threading.Thread(target=lambda: print('x')); t.start(); t.join()\n"
                + "try: t.start()\nexcept RuntimeError as error: print(error)",
            stdout: "x\nthreads can only be started once\n", top: "import threading"),
        writing(
            "a Thread that was not initialised",
            "try: T().start()\nexcept RuntimeError as error: print(error)",
            stdout: "thread.__init__() not called\n",
            top: "import threading\nclass T(threading.Thread):\n    def __init__(self): pass"),
        writing(
            "a pool of threads",
            "with concurrent.futures.ThreadPoolExecutor(2) as pool: list(pool.map(lambda n: print('p'), range(2)))",
            stdout: "p\np\n", top: "import concurrent.futures"),
        writing(
            "asyncio", "import asyncio\nasync def main(): print('a')\nasyncio.run(main())\nreturn None", stdout: "a\n"),
    ]
}

@Suite struct CallOutputTests {
    @Test(arguments: CallCase.output)
    func output(_ testCase: CallCase) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        testCase.check(try await thread.callOnce(testCase.script))
    }

    struct CapCase: Sendable, CustomTestStringConvertible {
        let name: String
        let body: String
        let kept: String
        var isCut = true
        var testDescription: String { name }
    }

    @Test(arguments: [
        CapCase(
            name: "just as much", body: "print('x' * 100, end='')", kept: String(repeating: "x", count: 100),
            isCut: false),
        CapCase(name: "one more", body: "print('x' * 101, end='')", kept: String(repeating: "x", count: 100)),
        CapCase(
            name: "many writes", body: "for _ in range(100000): print('xxxx')",
            kept: String(repeating: "xxxx\n", count: 20)),
        CapCase(
            name: "never within a character", body: "print('x' + 'ü' * 100)",
            kept: "x" + String(repeating: "ü", count: 49)),
    ])
    func cap(_ testCase: CapCase) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let result = try await thread.callOnce(plugin("", testCase.body), outputLimit: 100)
        #expect(result.stdout == testCase.kept + (testCase.isCut ? "\n[output cut after 100 bytes]\n" : ""))
    }

    @Test func aMegabyteAndMore() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let result = try await thread.callOnce(plugin("", "for _ in range(3 << 10): print('y' * 1023)"))
        #expect(result.stdout.utf8.count == (1 << 20) + "\n[output cut after 1048576 bytes]\n".utf8.count)
        #expect(result.stdout.hasSuffix("y\n\n[output cut after 1048576 bytes]\n"))
    }

    /// Two calls that write in turn, each held until the other has written.
    @Test func concurrentCallsDoNotMix() async throws {
        let script = """
            import logging, sys, threading
            barrier = threading.Barrier(2)
            class Plugin:
                def run(self, name):
                    for n in range(50):
                        barrier.wait()
                        print(name, n)
                        logging.info("%s %d", name, n)
                        sys.stderr.buffer.write(name.encode()[:1])
            """
        let first = try PluginThread()
        let second = try PluginThread()
        defer {
            first.stop()
            second.stop()
        }
        let plugin = try await first.load(script, id: "mixing").get().plugin
        async let one = first.call("run", of: plugin, arguments: #"{"name": "one"}"#)
        async let two = second.call("run", of: plugin, arguments: #"{"name": "two"}"#)
        for (name, result) in [("one", await one), ("two", await two)] {
            #expect(result.stdout == (0..<50).map { "\(name) \($0)\n" }.joined())
            let log = (0..<50).map { "INFO root: \(name) \($0)\n\(name.prefix(1))" }
            #expect(result.stderr == log.joined())
        }
    }

    /// Bytes of a character that one call left unfinished must not come out in another's output.
    @Test func halfACharacterStaysWithItsCall() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = """
            import sys
            class Plugin:
                def half(self): sys.stdout.buffer.write(b"\\xc3")
                def rest(self): sys.stdout.buffer.write(b"\\xbc")
            """
        let plugin = try await thread.load(script, id: "halves").get().plugin
        #expect(await thread.call("half", of: plugin).stdout == "\u{FFFD}")
        #expect(await thread.call("rest", of: plugin).stdout == "\u{FFFD}")
    }
}
