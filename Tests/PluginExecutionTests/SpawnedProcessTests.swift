import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import Sandbox
import Testing

/// Processes that a plugin starts with `multiprocessing` find the plugin's script, whose module no file has: they once
/// died one after the other, and the pool waited without end.
@Suite struct SpawnedProcessTests {
    private static let script = """
        import multiprocessing, sys
        from runbooksolutions.agent.API import API, APIError
        class Note:
            def __init__(self, text): self.text = text
        def square(number): return number * number
        def fail(number): raise ValueError(number)
        def call_api(api):
            try: api.getAgentDetails()
            except APIError as error: return error.code
        class Plugin:
            def __init__(self, api): self.api = api
            def pool(self, method="spawn", executable=None):
                if executable: multiprocessing.set_executable(executable)
                try:
                    with multiprocessing.get_context(method).Pool(2) as pool: return pool.map(square, range(3))
                finally:
                    if executable: multiprocessing.set_executable(sys.executable)
            def objects(self):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    return pool.apply(self.text, (Note("kept"),))
            def text(self, note): return note.text
            def error(self):
                with multiprocessing.get_context("spawn").Pool(1) as pool: pool.apply(fail, (7,))
            def use_api(self):
                with multiprocessing.get_context("spawn").Pool(1) as pool: return pool.apply(call_api, (self.api,))
        """

    private func run(_ tier: Tier, _ function: String, _ arguments: String = "{}") async throws -> Outcome {
        let fixture = try ExecutorFixture(tier, policy: { $0.limits[.memory] = 1 << 30 })
        try await fixture.load(Self.script)
        let outcome = await fixture.execute(function, arguments, timeLimit: .seconds(120))
        await fixture.executor.shutDown()
        return outcome
    }

    @Test(.enabled(if: !Sanitizer.isActive), arguments: Tier.allCases)
    func aFunctionOfTheScript(_ tier: Tier) async throws {
        let outcome = try await run(tier, "pool")
        #expect(outcome.data == "[0, 1, 4]", "\(outcome)")
    }

    /// As on a host where Python's own program isn't installed.
    @Test(.enabled(if: !Sanitizer.isActive), arguments: Tier.allCases)
    func withTheAgentAsPython(_ tier: Tier) async throws {
        let outcome = try await run(tier, "pool", #"{"executable": "\#(ExecutorFixture.agent)"}"#)
        #expect(outcome.data == "[0, 1, 4]", "\(outcome)")
    }

    @Test(.enabled(if: !Sanitizer.isActive))
    func fromAForkServer() async throws {
        let outcome = try await run(.inProcess, "pool", #"{"method": "forkserver"}"#)
        #expect(outcome.data == "[0, 1, 4]", "\(outcome)")
    }

    @Test(.enabled(if: !Sanitizer.isActive))
    func objectsAndErrorsAndTheAPI() async throws {
        #expect(try await run(.inProcess, "objects").data == "kept")
        #expect(try await run(.inProcess, "error").error?.traceback?.contains("def fail(number)") == true)
        #expect(try await run(.inProcess, "use_api").data == "api.no_agent")
    }
}
