import PythonCallCases
import PythonEmbedding
import Testing

@Suite struct CallResultTests {
    @Test(arguments: CallCase.results)
    func results(_ testCase: CallCase) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        testCase.check(try await thread.callOnce(testCase.script))
    }

    /// The encoder remembers what it is inside of; after a failure that looked like a circle to the next value.
    @Test func failedResultDoesNotSpoilTheNext() async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        let script = """
            shared = [1]
            class Plugin:
                def bad(self): return [shared, [object()], shared]
                def good(self): return [shared]
            """
        let plugin = try await thread.load(script, id: "encoder").get().plugin
        for _ in 0..<100 {
            #expect(await thread.call("bad", of: plugin).exception?.type == "TypeError")
            #expect(try await thread.call("good", of: plugin).text == "[[1]]")
        }
    }
}
