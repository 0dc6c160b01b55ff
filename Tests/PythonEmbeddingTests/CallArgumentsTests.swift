import PythonCallCases
import PythonEmbedding
import Testing

@Suite struct CallArgumentsTests {
    @Test(arguments: CallCase.arguments)
    func arguments(_ testCase: CallCase) async throws {
        let thread = try PluginThread()
        defer { thread.stop() }
        testCase.check(try await thread.callOnce(testCase.script, arguments: testCase.arguments))
    }
}
