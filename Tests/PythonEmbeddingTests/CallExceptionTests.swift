import PythonCallCases
import PythonEmbedding
import Testing

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
