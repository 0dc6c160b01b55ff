import Foundation
import Subprocess
import SystemPackage
import Testing

/// The tests of the agent's own Python, which are Python themselves (`Python/test_embedded.py`), run by the agent's
/// executable as Python.
@Suite struct EmbeddedPythonTests {
    @Test func testsOfItsOwn() async throws {
        let here = URL(filePath: #filePath).deletingLastPathComponent()
        let sources = here.appending(path: "../../Sources/Plugins/PythonEmbedding/Python").standardized
        let agent = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: "runbook-agent")
        let result = try await run(
            .path(FilePath(agent.path())),
            arguments: ["-B", "-I", here.appending(path: "Python/test_embedded.py").path(), sources.path()],
            output: .discarded, error: .string(limit: 1 << 20))
        let text = result.standardError
        #expect(result.terminationStatus == .exited(0), "\(text)")
        // How many ran is in the last lines: "Ran 13 tests in 0.010s".
        #expect(text.firstMatch(of: /Ran [1-9][0-9]* tests/) != nil, "\(text)")
    }
}
