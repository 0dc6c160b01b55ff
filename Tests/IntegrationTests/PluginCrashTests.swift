import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// Plugins that take the agent's process down: real processes, each the next one's past.
@Suite struct PluginCrashTests {
    static let script = """
        import ctypes, faulthandler, os, signal
        class Plugin:
            def segfault(self): ctypes.string_at(8)
            def segfault_reported(self):
                self.report = open(os.devnull, 'w')
                faulthandler.enable(file=self.report)
                ctypes.string_at(8)
            def leave(self): os._exit(3)
            def abort(self): os.abort()
            def kill(self): os.kill(os.getpid(), signal.SIGKILL)
            def exit_in_c(self): ctypes.CDLL(None).exit(4)
            def fine(self): return 'fine'
            def fork(self):
                child = os.fork()
                if child == 0: os._exit(5)
                os.waitpid(child, 0)
                return 'parent'
        """
    static let functions = ["segfault", "segfault_reported", "leave", "abort", "kill", "exit_in_c", "fine", "fork"]

    struct End: Sendable, CustomTestStringConvertible {
        var function: String
        var status: RunStatus
        var code: String?
        var says: String = ""
        var testDescription: String { function }
    }

    private func once(_ backend: ScriptedBackend, _ folder: TemporaryFolder) async throws -> AgentProcess.Output {
        try await AgentProcess.run(
            ["run", "--once", "--set", "server_url=\(backend.server.url)", "--set", "auth=False"],
            directory: folder.path)
    }

    private func makeBackend(script: String = script) throws -> ScriptedBackend {
        let backend = try ScriptedBackend()
        backend.addPlugin("bad", script: script, functions: Self.functions)
        return backend
    }

    @Test(arguments: [
        End(function: "segfault", status: .crashed, code: "run.crashed", says: "SIGSEGV"),
        End(function: "segfault_reported", status: .crashed, code: "run.crashed", says: "SIGSEGV"),
        End(function: "leave", status: .crashed, code: "run.crashed", says: "exit status 3"),
        End(function: "abort", status: .crashed, code: "run.crashed", says: "SIGABRT"),
        End(function: "exit_in_c", status: .crashed, code: "run.crashed", says: "exit()"),
        // It might as well have been the host's memory that ran out.
        End(function: "kill", status: .interrupted, code: "run.interrupted"),
        End(function: "fork", status: .succeeded),
    ])
    func whatEndedTheRunIsReported(_ end: End) async throws {
        let backend = try makeBackend()
        let folder = try TemporaryFolder()
        backend.addTask(Self.task("t", end.function))
        _ = try await once(backend, folder)
        let output = try await once(backend, folder)
        #expect(output.status == 0, "\(output.stderr)")
        let results = try backend.results(of: "t")
        #expect(results.map(\.status) == [end.status], "\(output.stderr)")
        #expect(results.first?.error?.code == end.code)
        if !end.says.isEmpty {
            #expect(results.first?.error?.message.contains(end.says) == true)
            #expect(results.first?.error?.message.contains(#""bad""#) == true)
        }
        // It may have run beside the one that ended the process, and its result have been on its way.
        #expect(Set(try backend.results(of: "good").map(\.runID)).count == 1)
    }

    @Test func aPluginThatKillsThreeTimesIsQuarantinedUntilItIsReleased() async throws {
        let backend = try makeBackend()
        let folder = try TemporaryFolder()
        for number in 1...3 {
            backend.addTask(Self.task("t\(number)", "leave"))
            #expect(try await once(backend, folder).status == 3)
        }
        backend.addTask(Self.task("fine", "fine"))
        var output = try await once(backend, folder)
        #expect(output.status == 1, "a run was rejected: \(output.stderr)")
        #expect(try backend.results(of: "t3").map(\.status) == [.crashed])
        let rejected = try #require(try backend.results(of: "fine").first)
        #expect(rejected.status == .rejected)
        #expect(rejected.error?.code == "plugin.quarantined")
        // It may have run beside the one that ended the process, and its result have been on its way.
        #expect(Set(try backend.results(of: "good").map(\.runID)).count == 1)

        output = try await AgentProcess.run(["plugin", "list", "--json"], directory: folder.path)
        let states = try output.jsonLines().map { "\($0["id"] ?? "") \($0["state"] ?? "")" }
        #expect(states == ["bad quarantined", "good-plugin verified"], "\(output.stderr)")
        output = try await AgentProcess.run(["plugin", "show", "bad"], directory: folder.path)
        #expect(output.stdout.contains("3 times in a row"), "\(output.stderr)")

        output = try await AgentProcess.run(["status", "--json"], directory: folder.path)
        let status = try #require(try output.jsonLines().first)
        let quarantine = try #require(status["quarantine"] as? [[String: Any]])
        #expect(quarantine.map { $0["plugin"] as? String } == ["bad"])
        #expect(quarantine.first?["crashes"] as? Int == 3)
        output = try await AgentProcess.run(["status"], directory: folder.path)
        #expect(output.stdout.contains("plugin release bad"), "\(output.stdout)")

        output = try await AgentProcess.run(["plugin", "release", "bad"], directory: folder.path)
        #expect(output.stdout == "released bad\n", "\(output.stderr)")
        backend.addTask(Self.task("again", "fine"))
        output = try await once(backend, folder)
        #expect(output.status == 0, "\(output.stderr)")
        #expect(try backend.results(of: "again").map(\.data) == ["fine"])
    }

    @Test func aScriptThatKillsWhenItIsLoadedIsQuarantinedAndItsCorrectionRuns() async throws {
        let backend = try makeBackend(script: "import os\nos._exit(6)\n" + Self.script)
        let folder = try TemporaryFolder()
        for _ in 1...3 { #expect(try await once(backend, folder).status == 6) }
        backend.addTask(Self.task("before", "fine"))
        #expect(try await once(backend, folder).status == 1)
        #expect(try backend.results(of: "before").map(\.error?.code) == ["plugin.quarantined"])

        backend.addPlugin("bad", script: Self.script, functions: Self.functions)
        backend.addTask(Self.task("after", "fine"))
        let output = try await once(backend, folder)
        #expect(output.status == 0, "\(output.stderr)")
        #expect(try backend.results(of: "after").map(\.data) == ["fine"])
    }

    private static func task(_ id: String, _ function: String) -> String {
        #"{"id": "\#(id)", "command": "bad.\#(function)", "cron": null, "arguments": "{}"}"#
    }
}
