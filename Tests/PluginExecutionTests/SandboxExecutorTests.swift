import AgentModel
import Foundation
import PluginExecution
import Sandbox
import Testing

@Suite struct SandboxExecutorTests {
    static let executable = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "runbook-agent").path()

    @Test func first() async throws {
        let executor = try SandboxExecutor(host: SandboxHost(executable: Self.executable))
        let id = try PluginID("x")
        let script = """
            class Plugin:
                def echo(self, value): return value
                def boom(self):
                    import ctypes
                    ctypes.string_at(0)
            """
        let clock = ContinuousClock()
        let t = clock.now
        try await executor.load(
            PluginImage(id: id, script: Array(script.utf8), path: "/plugins/x.py", sandbox: SandboxPolicy()))
        print("loaded", t.duration(to: clock.now))
        for _ in 0..<3 {
            let t = clock.now
            let outcome = await executor.execute(
                Invocation(pluginID: id, function: "echo", arguments: #"{"value": 3}"#))
            print(outcome, t.duration(to: clock.now))
        }
        print(await executor.execute(Invocation(pluginID: id, function: "boom")))
        print(await executor.execute(Invocation(pluginID: id, function: "echo", arguments: #"{"value": 3}"#)))
        await executor.shutDown()
    }
}
