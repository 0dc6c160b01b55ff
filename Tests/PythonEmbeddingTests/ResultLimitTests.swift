import AgentTestSupport
import Foundation
import PythonCallCases
import PythonEmbedding
import Testing

/// A result has a bound, and no more memory is used to find that it is past it.
@Suite struct ResultLimitTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let expression: String
        /// Nil: it is too large.
        var size: Int?
        var top = ""
        var testDescription: String { name }
    }

    private static let limit = 1000

    @Test(arguments: [
        Case(name: "text, just", expression: "'x' * 1000", size: 1000),
        Case(name: "text, one more", expression: "'x' * 1001"),
        Case(name: "text of two bytes a character, just", expression: "'ü' * 500", size: 1000),
        Case(name: "text of two bytes a character, one more", expression: "'ü' * 501"),
        Case(name: "text of four bytes a character", expression: "'😀' * 251"),
        Case(name: "lone surrogates", expression: "'\\ud800' * 1000", size: 1000),
        Case(name: "text subclass", expression: "T('x' * 1001)", top: "class T(str): pass"),
        Case(name: "integer", expression: "10 ** 999", size: 1000),
        Case(name: "integer, one digit more", expression: "10 ** 1000"),
        Case(name: "integers, just", expression: "[7] * 332 + [10]", size: 1000),
        Case(name: "integers, one more", expression: "[7] * 333 + [1]"),
        Case(name: "negative integers", expression: "[-10] * 200", size: 1000),
        Case(name: "negative integers, one more", expression: "[-10] * 201"),
        Case(name: "fractions", expression: "[0.5] * 200", size: 1000),
        Case(name: "fractions, one more", expression: "[0.5] * 201"),
        Case(name: "escapes", expression: "['\\n' * 498]", size: 1000),
        Case(name: "escapes, one more", expression: "['\\n' * 499]"),
        Case(name: "controls", expression: "['\\x01' * 166]", size: 1000),
        Case(name: "controls, one more", expression: "['\\x01' * 167]"),
        Case(name: "pairs of surrogates", expression: "['😀' * 83]", size: 1000),
        Case(name: "pairs of surrogates, one more", expression: "['😀' * 84]"),
        Case(name: "object", expression: "{'a' * 490: 'b' * 500}", size: 998),
        Case(name: "object with longer keys", expression: "{'a' * 500: 'b' * 500}"),
        Case(name: "object with keys of numbers", expression: "{n: n for n in range(100)}", size: 980),
        Case(name: "nothing", expression: "[None, True, False] * 50 + [[], {}]", size: 958),
        Case(name: "one list many times", expression: "(lambda a: [[a * 100] * 100] * 100)([0])"),
        Case(name: "bytes", expression: "b'x' * 999"),
        Case(name: "bytes, just", expression: "b'x' * 998", size: 1000),
        Case(name: "bytes that become longer", expression: "b'\\xff' * 167"),
        Case(name: "set", expression: "set(range(1000))"),
        Case(name: "dates", expression: "[datetime.date(2026, 1, 2)] * 71", size: 994, top: "import datetime"),
        Case(name: "dates, one more", expression: "[datetime.date(2026, 1, 2)] * 72", top: "import datetime"),
        Case(
            name: "dataclass", expression: "D('x' * 1000)",
            top: "import dataclasses\n@dataclasses.dataclass\nclass D: a: str"),
    ])
    func bound(_ testCase: Case) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let plugin = try await thread.load(
            PythonCallCases.plugin("", "return \(testCase.expression)", top: testCase.top), id: "bound-\(testCase.name)"
        ).get().plugin
        let result = await thread.run { slot, gil in
            slot.call(
                "run", of: plugin, arguments: "{}", id: PluginThread.nextID(), resultLimit: Self.limit, gil: gil)
        }
        if let size = testCase.size {
            #expect(try result.text?.utf8.count == size)
        } else {
            #expect(result.failure == .resultTooLarge(limit: Self.limit), "\(result.value)")
        }
    }

    /// Each would need hundreds of megabytes to be written, of objects that have a few; or a gigabyte to be copied.
    /// In a process of its own, whose memory is counted.
    @Test(arguments: [
        "(lambda a: [[a] * 1000] * 1000)([0] * 1000)",
        "'ü' * (200 << 20)",
        "['x' * (200 << 20)]",
        "{'x' * (200 << 20): 1}",
        "bytes(200 << 20)",
        "[bytes(200 << 20)]",
        "{n: float(n) for n in range(1000000)}",
    ])
    func takesNoMoreMemoryThanTwice(_ expression: String) async {
        await #expect(processExitsWith: .success) { [expression = expression as String] in
            let thread = try PluginThread()
            // The object is there, and counted, before the call that returns it.
            let plugin = try await thread.load("kept = \(expression)\nclass Plugin:\n    def run(self): return kept")
                .get()
                .plugin
            let before = Self.peak()
            let result = await thread.call("run", of: plugin)
            #expect(result.failure == .resultTooLarge(limit: 16 << 20))
            #expect(Self.peak() - before <= 40 << 20)
        }
    }

    /// Bytes that were resident at most (proc(5)).
    private static func peak() -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
        return (line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }

    @Test(
        .enabled(if: !Sanitizer.isActive, "what it frees is kept for a while, and counted"), arguments: ["''", "'ü'"])
    func writesWithoutEndTakeNoMemory(_ text: String) async {
        await #expect(processExitsWith: .success) { [text = text as String] in
            let thread = try PluginThread()
            let body = "for _ in range(1000000): print(\(text), end='')"
            let plugin = try await thread.load(PythonCallCases.plugin("", body)).get().plugin
            let before = Self.peak()
            let result = await thread.call("run", of: plugin)
            #expect(result.failure == nil)
            #expect(Self.peak() - before <= 24 << 20)
        }
    }

    @Test func exceptionsAreBounded() async {
        await #expect(processExitsWith: .success) {
            let thread = try PluginThread()
            let script = """
                text = "x" * (200 << 20)
                class Plugin:
                    def run(self):
                        try: raise KeyError(1)
                        except KeyError: raise ValueError(text)
                """
            let plugin = try await thread.load(script).get().plugin
            let before = Self.peak()
            let exception = await thread.call("run", of: plugin).exception
            #expect(exception?.message.utf8.count == 65536)
            #expect((exception?.traceback?.utf8.count ?? .max) < 70_000)
            #expect(exception?.traceback?.contains("KeyError: 1") == true)
            #expect(Self.peak() - before <= 24 << 20)
        }
    }
}
