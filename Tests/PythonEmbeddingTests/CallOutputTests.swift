import PythonCallCases
import PythonEmbedding
import Testing

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
