import Agent
import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// An agent with sandboxed plugins, as a process of its own.
@Suite struct SandboxProcessTests {
    static let script = """
        import ctypes, os, re, signal, subprocess
        class Plugin:
            def __init__(self, api): self.api = api
            def segfault(self): ctypes.string_at(8)
            def leave(self): os._exit(3)
            def kill(self): os.kill(os.getpid(), signal.SIGKILL)
            def fine(self): return os.getpid()
            def send(self): return self.api.sendTaskResult("listed", "from within")
            def steal(self): return self.api.sendTaskResult("good", "from within")
            def invent(self): return self.api.sendTaskResult("another", "from within")
            def ask(self): return self.api.getAgentTasks()
            def look(self, path): return open(path).read()
            def hold(self, mark):
                subprocess.Popen(["sleep", mark], start_new_session=True)
                while True: re.match(r"(a*)*b", "a" * 64)
        """
    static let functions = ["segfault", "leave", "kill", "fine", "send", "steal", "invent", "ask", "look", "hold"]

    private func makeBackend(_ tasks: [(id: String, function: String, arguments: String)]) throws -> ScriptedBackend {
        let backend = try ScriptedBackend()
        backend.addPlugin("p", script: Self.script, functions: Self.functions)
        for task in tasks {
            let arguments = task.arguments.replacing("\"", with: "\\\"")
            backend.addTask(
                #"{"id": "\#(task.id)", "command": "p.\#(task.function)", "cron": null, "arguments": "\#(arguments)"}"#)
        }
        return backend
    }

    private func arguments(_ backend: ScriptedBackend, _ settings: [String] = []) -> [String] {
        (["server_url=\(backend.server.url)", "auth=False", "isolation=sandbox", "poll_interval=3600"] + settings)
            .flatMap { ["--set", $0] }
    }

    @Test func whatEndsAPluginEndsNeitherTheAgentNorTheNextRun() async throws {
        let backend = try makeBackend(
            ["segfault", "leave", "kill", "fine"].map { ($0, $0, "{}") })
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(
            ["run", "--once"] + arguments(backend), directory: folder.path)
        #expect(output.status == 1, "\(output.stderr)")
        for (id, part) in [("segfault", "SIGSEGV"), ("leave", "exit status 3"), ("kill", "SIGKILL")] {
            let results = try backend.results(of: id)
            #expect(results.map(\.status) == [.crashed], "\(id): \(output.stderr)")
            #expect(results.first?.error?.code == "run.crashed")
            #expect(results.first?.error?.message.contains(part) == true)
            #expect(results.first?.isolation == "sandbox")
        }
        #expect(try backend.results(of: "fine").map(\.status) == [.succeeded], "\(output.stderr)")
    }

    struct Access: Sendable, CustomTestStringConvertible {
        var api: String
        var sends: Bool
        /// For a task of another plugin, or of none.
        var steals: Bool
        var asks: Bool
        var testDescription: String { "api = \(api)" }
    }

    @Test(arguments: [
        Access(api: "none", sends: false, steals: false, asks: false),
        Access(api: "results", sends: true, steals: false, asks: false),
        Access(api: "full", sends: true, steals: true, asks: true),
    ])
    func theBackendIsReachedAsFarAsThePolicyAllows(_ access: Access) async throws {
        let backend = try makeBackend(
            ["send", "steal", "invent", "ask"].map { ($0, $0, "{}") } + [("listed", "fine", "{}")])
        backend.server.route("/api/agent/task/another", .json(#"{"data": null}"#))
        let folder = try TemporaryFolder()
        try "[sandbox]\napi = \(access.api)\n".write(
            toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        let output = try await AgentProcess.run(
            ["run", "--once"] + arguments(backend), directory: folder.path)
        let expected = [
            ("send", access.sends), ("steal", access.steals), ("invent", access.steals), ("ask", access.asks),
        ]
        for (id, isAllowed) in expected {
            let result = try backend.results(of: id).first
            #expect(result?.status == (isAllowed ? .succeeded : .failed), "\(id): \(output.stderr)")
            #expect(isAllowed || result?.error?.message.contains("'api = \(access.api)'") == true)
        }
    }

    /// The agent's own files are closed to plugins, whoever it runs as.
    @Test func theAgentsStateIsOutOfSight() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path("state/journal.sqlite")
        let backend = try makeBackend([("look", "look", "{\"path\": \"\(path)\"}")])
        let output = try await AgentProcess.run(
            ["run", "--once"] + arguments(backend), directory: folder.path)
        #expect(FileManager.default.fileExists(atPath: path))
        let result = try backend.results(of: "look").first
        #expect(result?.error?.type == "PermissionError", "\(output.stderr)")
    }

    /// Whose process group and session are its own, and whose parent holds the interpreter's lock for ever.
    private func waitUntilGone(_ mark: String) async throws {
        try await eventually("what the plugin started is gone") { try !Self.isRunning(mark) }
    }

    private static func isRunning(_ mark: String) throws -> Bool {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").contains { name in
            guard Int(name) != nil, let text = try? String(contentsOfFile: "/proc/\(name)/cmdline", encoding: .utf8)
            else { return false }
            return text.split(separator: "\0").first == "sleep" && text.contains(mark)
        }
    }

    private func waitUntilRunning(_ mark: String) async throws {
        try await eventually("what the plugin starts runs") { try Self.isRunning(mark) }
    }

    @Test(arguments: [SIGKILL, SIGTERM])
    func nothingIsLeftWhenTheAgentEnds(_ signal: Int32) async throws {
        let mark = "86400.\(UInt32.random(in: 1...UInt32.max))"
        let backend = try makeBackend([("hold", "hold", "{\"mark\": \"\(mark)\"}")])
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(
            ["run"] + arguments(backend, ["shutdown_grace=0"]), directory: folder.path
        ) { process in
            try await waitUntilRunning(mark)
            let lines = try await poll(["status"], in: folder.path) { $0.first?.at("plugins.first.0.isolation") != nil }
            #expect(lines.first?.at("plugins.first.0.isolation") as? String == "sandbox")
            kill(process, signal)
        }
        #expect(output.status == (signal == SIGKILL ? -SIGKILL : 0), "\(output.stderr)")
        try await waitUntilGone(mark)
        if signal == SIGTERM {
            let result = try backend.results(of: "hold").last
            #expect(result?.status == .interrupted, "\(output.stderr)")
            #expect(result?.error?.message.contains("(child_ended)") == true)
        }
    }

    @Test func aRunPastItsTimeLimitEndsWithEverythingItStarted() async throws {
        let mark = "86400.\(UInt32.random(in: 1...UInt32.max))"
        let backend = try makeBackend([("hold", "hold", "{\"mark\": \"\(mark)\"}"), ("fine", "fine", "{}")])
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(
            ["run", "--once"] + arguments(backend, ["task_timeout=1"]), directory: folder.path)
        let result = try backend.results(of: "hold").first
        #expect(result?.status == .timedOut, "\(output.stderr)")
        #expect(result?.error?.message.contains("(child_ended)") == true)
        #expect(try backend.results(of: "fine").map(\.status) == [.succeeded])
        #expect(try !Self.isRunning(mark))
    }
}
