import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// Programs of runs whose agent was killed.
@Suite struct LeftProgramsTests {
    /// An argument that no other program of this host has.
    private static func seconds() -> String { "30.\(UInt32.random(in: 100_000_000...999_999_999))" }

    private static func count(withArgument argument: String) -> Int {
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.count { process in
            guard Int32(process) != nil, let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline")
            else { return false }
            return String(decoding: line, as: UTF8.self).split(separator: "\0").contains(argument[...])
        }
    }

    // A schedule's next run began beside what the last one had left when its agent was killed.
    @Test(arguments: ["in-process", "sandbox"]) func areEndedByTheNextAgentAtTheLatest(_ isolation: String) async throws
    {
        let backend = try ScriptedBackend()
        let time = Self.seconds()
        let script = """
            import subprocess
            class Plugin:
                def wait(self): subprocess.run(["/bin/sh", "-c", "/bin/sleep \(time); :"])
            """
        backend.addPlugin("waiter", script: script, functions: ["wait"])
        backend.addTask(#"{"id": "t", "command": "waiter.wait", "cron": null, "arguments": "{}"}"#)
        let folder = try TemporaryFolder()
        try """
        [agent]
        server_url = \(backend.server.url)
        auth = False
        isolation = \(isolation)
        [sandbox]
        mode = prefer
        """.write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        let killed = try await AgentProcess.run(["run"], directory: folder.path) { process in
            try await eventually("its program runs") { Self.count(withArgument: time) == 1 }
            kill(process, SIGKILL)
        }
        #expect(killed.status == -SIGKILL)
        if isolation == "in-process" { #expect(Self.count(withArgument: time) == 1) }
        _ = try await AgentProcess.run(["run", "--once"], directory: folder.path)
        #expect(Self.count(withArgument: time) == 0)
        #expect(try backend.results(of: "t").map(\.status) == [.interrupted])
    }
}
