import PythonEmbedding
import Testing

extension CallCase {
    private static func raising(
        _ name: String, _ body: String, _ type: String, _ part: String = "", top: String = ""
    ) -> CallCase {
        CallCase(name: name, script: plugin("", body, top: top), expectation: .raised(type, containing: part))
    }

    static let exceptions: [CallCase] = [
        raising("ValueError", "raise ValueError('no good')", "ValueError", "no good"),
        raising("own class", "raise Own('x')", "runbook_plugin_", "x", top: "class Own(Exception): pass"),
        raising(
            "str raises", "raise Bad()", "runbook_plugin_", "could not be made",
            top: "class Bad(Exception):\n    def __str__(self): raise RuntimeError('worse')"),
        raising(
            "str raises BaseException", "raise Bad()", "runbook_plugin_", "could not be made",
            top: "class Bad(Exception):\n    def __str__(self): raise SystemExit(3)"),
        raising("lone surrogate", "raise ValueError('a\\ud800')", "ValueError", "a?"),
        raising("recursion", "return self.run()", "RecursionError", "recursion"),
        raising("missing module", "import not_there", "ModuleNotFoundError", "not_there"),
        raising("KeyboardInterrupt", "raise KeyboardInterrupt()", "KeyboardInterrupt"),
        raising("GeneratorExit", "raise GeneratorExit()", "GeneratorExit"),
        raising("StopIteration", "raise StopIteration(1)", "StopIteration"),
        raising("MemoryError", "return [0] * (1 << 62)", "MemoryError"),
        CallCase(name: "sys.exit", script: plugin("", "import sys; sys.exit(3)"), expectation: .exited("3")),
        CallCase(name: "exit with text", script: plugin("", "raise SystemExit('bye')"), expectation: .exited("bye")),
    ].map { testCase in
        guard case .raised("runbook_plugin_", let part) = testCase.expectation else { return testCase }
        var testCase = testCase
        // The module's name ends in a number; the class itself is looked at by `exceptionOfAnOwnClass`.
        testCase.script = testCase.script.replacingClassModule()
        testCase.expectation = .raised(
            "theirs.\(testCase.script.contains("class Own") ? "Own" : "Bad")", containing: part)
        return testCase
    }
}

extension String {
    /// Gives the first class of the script a module name that is known beforehand.
    fileprivate func replacingClassModule() -> String {
        let name = contains("class Own") ? "Own" : "Bad"
        return replacing("\nclass Plugin:", with: "\n\(name).__module__ = 'theirs'\nclass Plugin:", maxReplacements: 1)
    }
}

@Suite struct CallExceptionTests {
    @Test(arguments: CallCase.exceptions)
    func exceptions(_ testCase: CallCase) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        testCase.check(try await thread.callOnce(testCase.script))
    }

    @Test func tracebackShowsSourceLinesAndNothingOfOurs() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = """
            def inner():
                raise KeyError("lost")  # the line to show

            class Plugin:
                def run(self):
                    try:
                        inner()
                    except KeyError as error:
                        raise ValueError("outer") from error
            """
        let exception = try #require(try await thread.callOnce(script).exception)
        let traceback = try #require(exception.traceback)
        #expect(traceback.contains("raise KeyError(\"lost\")  # the line to show"))
        #expect(traceback.contains("direct cause"))
        #expect(traceback.contains("ValueError: outer"))
        #expect(traceback.contains("/plugins/once-"))
        #expect(!traceback.contains("<runbook-agent>"))
        #expect(exception.raisedInside)
    }

    @Test func tracebackIsBounded() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let exception = try await thread.callOnce(plugin("", "raise ValueError('x' * 10_000_000)")).exception
        let traceback = try #require(exception?.traceback)
        #expect(traceback.utf8.count < 70_000)
        #expect(traceback.contains("[traceback cut]"))
        #expect(exception?.message.count == 65536)
    }
}
