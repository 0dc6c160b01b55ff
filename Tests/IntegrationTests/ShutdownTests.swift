import Agent
import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// What signals do to an agent that runs as a process.
@Suite struct ShutdownTests {
    static let script = """
        import os, re, time
        class Plugin:
            def __init__(self, api): self.api = api
            def brief(self):
                self.api.sendRequest("/started/brief", "POST", {})
                time.sleep(0.5)
                return "done"
            def long(self):
                self.api.sendRequest("/started/long", "POST", {})
                while True: time.sleep(0.05)
            def wedge(self):
                self.api.sendRequest("/started/wedge", "POST", {})
                re.match(r"(a*)*b", "a" * 64)
        """

    private func makeBackend(running functions: [String]) throws -> ScriptedBackend {
        let backend = try ScriptedBackend()
        backend.addPlugin("p", script: Self.script, functions: ["brief", "long", "wedge"])
        for function in functions {
            backend.addTask(#"{"id": "\#(function)", "command": "p.\#(function)", "cron": null, "arguments": "{}"}"#)
            backend.server.route("/api/started/\(function)", .json(#"{"data": null}"#))
        }
        return backend
    }

    private func run(
        _ backend: ScriptedBackend, _ folder: TemporaryFolder, _ settings: [String] = [],
        body: @escaping (pid_t) async throws -> Void
    ) async throws -> AgentProcess.Output {
        let arguments = ["server_url=\(backend.server.url)", "auth=False", "poll_interval=3600"] + settings
        return try await AgentProcess.run(
            ["run"] + arguments.flatMap { ["--set", $0] }, directory: folder.path, body: body)
    }

    struct Signal: Sendable, CustomTestStringConvertible {
        var name: String
        var number: Int32
        var testDescription: String { name }
    }

    static let signals = [Signal(name: "SIGTERM", number: SIGTERM), Signal(name: "SIGINT", number: SIGINT)]

    @Test(arguments: signals)
    func runsMayFinishAndAreDelivered(_ signal: Signal) async throws {
        let backend = try makeBackend(running: ["brief"])
        let output = try await run(backend, TemporaryFolder()) { process in
            await backend.server.request(to: "/api/started/brief")
            kill(process, signal.number)
        }
        #expect(output.status == 0, "\(output.stderr)")
        let results = try backend.results(of: "brief")
        #expect(Set(results.map(\.runID)).count == 1, "\(output.stderr)")
        #expect(results.last?.data == "done")
    }

    @Test func whatGoesOnAfterTheGraceIsStoppedAndReported() async throws {
        let backend = try makeBackend(running: ["long"])
        let output = try await run(backend, TemporaryFolder(), ["shutdown_grace=0.2"]) { process in
            await backend.server.request(to: "/api/started/long")
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        let results = try backend.results(of: "long")
        // What was on its way when the services ended is sent again with the last ones, under the same key.
        #expect(Set(results.map(\.runID)).count == 1, "\(output.stderr)")
        #expect(results.allSatisfy { $0.status == .interrupted })
        #expect(results.first?.error?.code == "run.stopped")
        #expect(results.first?.error?.message.contains("the agent was stopped") == true)
    }

    @Test func aSecondSignalEndsAtOnceAndLosesNothing() async throws {
        let backend = try makeBackend(running: ["long"])
        let folder = try TemporaryFolder()
        let output = try await run(backend, folder) { process in
            await backend.server.request(to: "/api/started/long")
            // Two of one kind that come together would be one.
            kill(process, SIGTERM)
            kill(process, SIGINT)
        }
        #expect([128 + SIGTERM, 128 + SIGINT].contains(output.status), "\(output.stderr)")
        #expect(try backend.results(of: "long").isEmpty)
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        #expect(try backend.results(of: "long").map(\.status) == [.interrupted])
    }

    /// Nothing of Python can run any more, not even the plugins' `shutdown()`.
    @Test func aWedgedInterpreterDoesNotKeepTheAgentFromStopping() async throws {
        let backend = try makeBackend(running: ["wedge"])
        let folder = try TemporaryFolder()
        let output = try await run(backend, folder, ["shutdown_grace=0.2"]) { process in
            await backend.server.request(to: "/api/started/wedge")
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        let results = try backend.results(of: "wedge")
        #expect(results.map(\.status) == [.interrupted], "\(output.stderr)")
        #expect(results.first?.error?.code == "run.stopped")
        #expect(results.first?.error?.message.contains("process_ended") == true, "\(results)")
    }

    /// Many more of the plugin's runs have been written down ahead of the one that holds the interpreter.
    @Test func whatWaitsBehindAWedgeIsTakenBackAndRunsLater() async throws {
        let backend = try makeBackend(running: [])
        backend.server.route("/api/started/wedge", .json(#"{"data": null}"#))
        backend.addPlugin(
            "q",
            script: """
                import re
                class Plugin:
                    def __init__(self, api): self.api = api
                    def quick(self): return "quick"
                    def wedge(self):
                        self.api.sendRequest("/started/wedge", "POST", {})
                        re.match(r"(a*)*b", "a" * 64)
                """, functions: ["quick", "wedge"])
        let quick = (0..<200).map { "quick-\($0)" }
        for id in quick.prefix(100) + ["wedge"] + quick.suffix(100) {
            backend.addTask(
                #"{"id": "\#(id)", "command": "q.\#(id.prefix(while: { $0 != "-" }))", "cron": null, "arguments": "{}"}"#
            )
        }
        let folder = try TemporaryFolder()
        let output = try await run(backend, folder, ["shutdown_grace=0.2"]) { process in
            await backend.server.request(to: "/api/started/wedge")
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        let report = try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        #expect(report.undelivered == 0)
        for id in quick {
            let results = try backend.results(of: id)
            #expect(Set(results.map(\.runID)).count == 1, "\(id)")
            #expect(results.last?.status == .succeeded, "\(id): \(results)")
        }
        #expect(try backend.results(of: "wedge").last?.status == .interrupted)
    }

    /// A request may take an hour here, and the end doesn't wait for it.
    @Test func aBackendThatHangsDoesNotKeepTheAgentFromStopping() async throws {
        let backend = try makeBackend(running: ["brief"])
        let folder = try TemporaryFolder()
        backend.server.route("/api/agent/task/brief", .silence)
        let output = try await run(backend, folder, ["request_timeout=3600"]) { process in
            await backend.server.request(to: "/api/agent/task/brief")
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        let attempts = backend.server.requests.count { $0.target == "/api/agent/task/brief" }
        backend.server.route("/api/agent/task/brief", .json("{}", status: 201))
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        let results = try backend.results(of: "brief")
        #expect(results.count == attempts + 1)
        #expect(Set(results.map(\.runID)).count == 1)
        #expect(results.last?.data == "done")
    }

    @Test func aWrongConfigurationIsRefused() async throws {
        let backend = try makeBackend(running: [])
        let folder = try TemporaryFolder()
        let file = try writeConfiguration("poll_interval = 0.1\n", backend, folder)
        let output = try await AgentProcess.run(["run", "--config", file], directory: folder.path) { process in
            await backend.server.request(to: "/api/agent/task/good")
            _ = try writeConfiguration("poll_interval = never\nworkerz = 1\n", backend, folder)
            kill(process, SIGHUP)
            // It goes on.
            await backend.server.waitForRequests(backend.server.requests.count + 10)
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stderr.contains("keeping the current one"), "\(output.stderr)")
        #expect(output.stderr.contains("workerz") && output.stderr.contains("never"), "\(output.stderr)")
    }

    @Test func aRightConfigurationTakesEffect() async throws {
        let backend = try makeBackend(running: [])
        let folder = try TemporaryFolder()
        let file = try writeConfiguration("poll_interval = 3600\n", backend, folder)
        let output = try await AgentProcess.run(["run", "--config", file], directory: folder.path) { process in
            await backend.server.request(to: "/api/agent/task/good")
            backend.addTask(#"{"id": "later", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
            _ = try writeConfiguration(
                "poll_interval = 0.1\nworkers = 2\n[plugin:p]\nconcurrency = 2\n", backend, folder)
            kill(process, SIGHUP)
            await backend.server.request(to: "/api/agent/task/later")
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stderr.contains("in_effect=\"poll_interval, [plugin:p]\""), "\(output.stderr)")
        #expect(output.stderr.contains("need_restart=workers"), "\(output.stderr)")
    }

    /// The agent was deaf to SIGTERM for as long as a constructor took that SIGHUP had called.
    @Test func aReloadThatTakesLongKeepsTheAgentFromNothing() async throws {
        let backend = try makeBackend(running: [])
        let folder = try TemporaryFolder()
        let (slow, entered) = (folder.path("slow"), folder.path("entered"))
        #expect(FileManager.default.createFile(atPath: slow, contents: nil))
        // In the sandbox it doesn't see the file, so that it is loaded at once there.
        backend.addPlugin(
            "slow",
            script: """
                import os, time
                class Plugin:
                    def __init__(self):
                        if os.path.exists("\(slow)"):
                            open("\(entered)", "w").close()
                            while True: time.sleep(0.05)
                    def hello(self): return "hello"
                """, functions: ["hello"])
        backend.addTask(#"{"id": "hello", "command": "slow.hello", "cron": null, "arguments": "{}"}"#)
        let sandboxed = "[plugin:slow]\nisolation = sandbox\n"
        let file = try writeConfiguration("poll_interval = 3600\nshutdown_grace = 0.2\n\(sandboxed)", backend, folder)
        let output = try await AgentProcess.run(["run", "--config", file], directory: folder.path) { process in
            await backend.server.request(to: "/api/agent/task/hello")
            _ = try writeConfiguration("poll_interval = 3600\nshutdown_grace = 0.2\n", backend, folder)
            kill(process, SIGHUP)
            try await eventually("the constructor runs") { FileManager.default.fileExists(atPath: entered) }
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        let reloaded = output.stderr.range(of: "configuration reloaded")
        let stopping = try #require(output.stderr.range(of: "agent stopping"), "\(output.stderr)")
        #expect(reloaded.map { stopping.lowerBound < $0.lowerBound } ?? true, "\(output.stderr)")
        #expect(!output.stderr.contains("plugin.load_timed_out"), "\(output.stderr)")
    }

    /// It ended with exit status 1 and a bare error of the services' library, without the last writes.
    @Test func aWedgeWhileStoppingIsNoFailure() async throws {
        let backend = try makeBackend(running: [])
        let folder = try TemporaryFolder()
        let entered = folder.path("entered")
        backend.addPlugin(
            "wedges",
            script: """
                import re
                class Plugin:
                    def __init__(self):
                        open("\(entered)", "w").close()
                        re.match(r"(a*)*b", "a" * 64)
                """, functions: ["hello"])
        let output = try await run(backend, folder, ["shutdown_grace=0.2"]) { process in
            try await eventually("the constructor runs") { FileManager.default.fileExists(atPath: entered) }
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stderr.contains("agent stopped"), "\(output.stderr)")
        #expect(!output.stderr.contains("ServiceGroup"), "\(output.stderr)")
    }

    @Test func aLoadInTheSandboxIsStoppedWithTheAgent() async throws {
        let backend = try makeBackend(running: [])
        let folder = try TemporaryFolder()
        backend.addPlugin(
            "endless",
            script: "import time\nprint('loading')\nwhile True:\n    time.sleep(0.05)\nclass Plugin: pass\n",
            functions: ["hello"])
        let file = try writeConfiguration(
            "poll_interval = 3600\nshutdown_grace = 0.2\n[plugin:endless]\nisolation = sandbox\n", backend, folder)
        let output = try await AgentProcess.run(["run", "--config", file], directory: folder.path) { process in
            await backend.server.request(to: "/api/agent/task/good")
            await backend.server.request(to: "/api/agent/plugin/endless")
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stderr.contains("agent stopped"), "\(output.stderr)")
        #expect(!output.stderr.contains("agent.stop_timed_out"), "\(output.stderr)")
        #expect(!output.stderr.contains("plugin.load_timed_out"), "\(output.stderr)")
    }

    private func writeConfiguration(
        _ text: String, _ backend: ScriptedBackend, _ folder: TemporaryFolder
    ) throws -> String {
        let file = folder.path("config.ini")
        let base = "[agent]\nserver_url = \(backend.server.url)\nauth = False\n"
        try (base + text).write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }
}
