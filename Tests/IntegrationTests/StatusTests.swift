// More than 400 lines: one case for each thing that `status` can say.

import AgentModel
import AgentTestSupport
import Diagnostics
import Foundation
import RunJournal
import Testing

/// `status`, with the daemon as a process of its own.
@Suite struct StatusTests {
    /// Calls of `wedge` hold the GIL and never return.
    private static let wedge = """
        import re
        class Plugin:
            def wedge(self): re.match("(a+)+$", "a" * 60 + "b")
        """

    private func settings(_ url: String, pollInterval: Int = 86400) -> [String] {
        [
            "--set", "server_url=\(url)", "--set", "auth=no", "--set", "poll_interval=\(pollInterval)", "--set",
            "task_timeout=0",
        ]
    }

    /// - Parameter problems: the codes of what is to be wrong.
    private func status(in folder: TemporaryFolder, problems: [String]? = nil) async throws -> [String: Any] {
        let output = try await AgentProcess.run(["status", "--json", "--set", "auth=no"], directory: folder.path)
        let lines = try output.jsonLines()
        #expect(lines.count == 1)
        let status = lines.first ?? [:]
        let codes = codes(status)
        #expect(output.status == (codes.isEmpty ? 0 : 1), "\(output.stdout)\(output.stderr)")
        if let problems { #expect(codes == problems, "\(output.stdout)") }
        return status
    }

    /// Of what is wrong.
    private func codes(_ status: [String: Any]) -> [String] {
        (status["problems"] as? [[String: Any]] ?? []).compactMap { $0["code"] as? String }
    }

    /// The tasks of the runs in flight. `good` may be among them: it has begun and waits for the GIL.
    private func running(_ status: [String: Any]) -> [String] {
        (status.at("running.first") as? [[String: Any]] ?? []).compactMap { $0["task_id"] as? String }
    }

    @Test func whereNoAgentHasRunThatIsSaid() async throws {
        let folder = try TemporaryFolder()
        for arguments in [
            ["status"], ["status", "--json"], ["history"], ["outbox", "list"], ["outbox", "retry", "--all"],
        ] {
            let output = try await AgentProcess.run(arguments, directory: folder.path)
            #expect(output.status == 1)
            #expect(output.stderr.contains("journal.missing") && output.stderr.contains("state_directory"))
            #expect(output.stdout.isEmpty)
        }
        // Nothing was made by asking.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }

    @Test func aDaemonThatRunsIsStoppedByTheSystemAndIsKilled() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("wedger", script: Self.wedge, functions: ["wedge"])
        backend.addTask(#"{"id": "yearly", "command": "good-plugin.hello", "cron": "0 0 1 1 *", "arguments": "{}"}"#)
        backend.listPlugin(#""gone""#)
        backend.addTask(#"{"id": "early", "command": "nobody.knows", "cron": null, "arguments": "{}"}"#)
        backend.server.route("/api/agent/plugin/gone", .json("{}", status: 503))
        let folder = try TemporaryFolder()
        let before = Date()
        let arguments = ["run"] + settings(backend.server.url, pollInterval: 1)
        let daemon = try await AgentProcess.run(arguments, directory: folder.path) { process in
            defer { kill(process, SIGKILL) }
            // Afterwards nothing can be loaded any more.
            await backend.server.request(to: "/api/agent/task/good")
            let states = ["unavailable", "loaded", "loaded"]
            _ = try await poll(["status", "--set", "auth=no"], in: folder.path) { lines in
                (lines.first?.at("plugins.first") as? [[String: Any]])?.map { $0["state"] as? String } == states
            }
            backend.addTask(#"{"id": "hold", "command": "wedger.wedge", "cron": null, "arguments": "{}"}"#)
            var status = try await poll(["status", "--set", "auth=no"], in: folder.path) { lines in
                lines.first.map(self.running)?.contains("hold") == true
                    && lines.first?.at("waiting.total") as? Int == 1 && lines.first?.at("backend.at") != nil
            }[0]
            #expect(status.at("agent.state") as? String == "running")
            #expect(status.at("agent.process_id") as? Int == Int(process))
            #expect(status.at("login.state") as? String == "not used")
            #expect(status.at("waiting.first.0.task_id") as? String == "early")
            #expect((status.at("waiting.first.0.reason") as? String)?.contains("gone") == true)
            let plugins = try #require(status.at("plugins.first") as? [[String: Any]])
            #expect(plugins.map { $0["id"] as? String } == ["gone", "good-plugin", "wedger"])
            #expect(plugins.map { $0["state"] as? String } == states)
            #expect(status.at("schedules.first.0.task_id") as? String == "yearly")
            #expect((status.at("schedules.first.0.next") as? String)?.isEmpty == false)
            let contact = try #require((status.at("backend.at") as? String).flatMap(RFC3339.date))
            #expect(contact > before.addingTimeInterval(-1) && contact < Date().addingTimeInterval(1))

            // Who keeps the others from running is written down, although nothing of Python runs any more.
            status = try await poll(["status", "--set", "auth=no"], in: folder.path) { lines in
                lines.first?.at("executor.hold.plugin") as? String == "wedger"
            }[0]
            #expect(status.at("executor.hold.run_id") != nil)
            #expect(
                (status.at("executor.uses") as? [[String: Any]])?.contains {
                    $0["plugin"] as? String == "wedger" && $0["kind"] as? String == "call" && $0["since"] != nil
                } == true, "\(status)")

            // A daemon that can do nothing at all.
            kill(process, SIGSTOP)
            status = try await self.status(in: folder)
            #expect(status.at("agent.state") as? String == "running")
            #expect(status.at("agent.suspended") as? Bool == true)
            #expect(codes(status).first == "agent.not_answering")
            #expect(status.at("agent.id") as? String == "a" && status.at("agent.name") as? String == "A")
            let text = try await AgentProcess.run(["status"], directory: folder.path).stdout
            #expect(
                text.contains("stopped by a signal (SIGSTOP), process \(process)") && text.contains("hold")
                    && text.contains("nobody.knows") && text.contains("A, id a"))
            #expect(text.hasPrefix("problems "))
            kill(process, SIGCONT)
            status = try await self.status(in: folder)
            #expect(status.at("agent.suspended") as? Bool == false)
            #expect(!codes(status).contains("agent.not_answering"))
        }
        #expect(daemon.status == -SIGKILL)

        let status = try await status(in: folder)
        #expect(status.at("agent.state") as? String == "died")
        #expect(status.at("agent.process_id") == nil)
        #expect(running(status).contains("hold"))
        #expect(status.at("plugins.total") as? Int == 3)
        let text = try await AgentProcess.run(["status"], directory: folder.path).stdout
        #expect(text.contains("did not end by itself") && text.contains("cut off"))
        #expect(codes(status).first == "agent.not_running")

        // The next agent knows that, and says so for a day.
        _ = try await AgentProcess.run(
            ["run", "--once"] + settings(backend.server.url).map { $0 == "task_timeout=0" ? "task_timeout=1" : $0 },
            directory: folder.path)
        let next = try await self.status(in: folder)
        #expect(codes(next).contains("agent.restarted"))
        #expect((next.at("ends.0.failure.reason") as? String)?.contains("SIGKILL") == true)
    }

    @Test func aDaemonThatEndedByItselfIsStopped() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let daemon = try await AgentProcess.run(["run"] + settings(backend.server.url), directory: folder.path) {
            process in
            await backend.server.waitForRequests(4)
            kill(process, SIGTERM)
        }
        #expect(daemon.status == 0, "\(daemon.stderr)")
        let status = try await status(in: folder)
        #expect(status.at("agent.state") as? String == "stopped")
        #expect(status.at("agent.stopped_at") != nil)
        #expect(status.at("outbox.pending") as? Int == 0)
        #expect(codes(status) == ["agent.not_running"])

        // One that was to end by itself is not missed, and nothing was wrong.
        let once = try await AgentProcess.run(["run", "--once"] + settings(backend.server.url), directory: folder.path)
        #expect(once.status == 0, "\(once.stderr)")
        _ = try await self.status(in: folder, problems: [])
        let text = try await AgentProcess.run(["status", "--set", "auth=no"], directory: folder.path).stdout
        #expect(text.hasPrefix("problems       0"), "\(text)")
    }

    // It said "it did not end by itself" of an end that was the agent's own.
    @Test func anEndOfItsOwnSaysWhy() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin("wedger", script: Self.wedge, functions: ["wedge"])
        let folder = try TemporaryFolder()
        let arguments =
            ["run"]
            + settings(backend.server.url, pollInterval: 1).map {
                $0 == "task_timeout=0" ? "task_timeout=1" : $0
            }
        let daemon = try await AgentProcess.run(arguments, directory: folder.path) { _ in
            await backend.server.request(to: "/api/agent/task/good")
            backend.addTask(#"{"id": "hold", "command": "wedger.wedge", "cron": null, "arguments": "{}"}"#)
        }
        #expect(daemon.status == 70)
        let status = try await status(in: folder)
        #expect(codes(status).first == "agent.not_running")
        #expect(status.at("agent.state") as? String == "stopped")
        #expect(status.at("agent.failure.code") as? String == "python.wedged")
        let text = try await AgentProcess.run(["status", "--set", "auth=no"], directory: folder.path).stdout
        #expect(text.contains("held the interpreter's lock") && !text.contains("did not end by itself"), "\(text)")
    }

    @Test func whatAPersonHasToDoIsSaidFirst() async throws {
        let backend = try ScriptedBackend()
        backend.server.route("/api/agent/task/good", .json("{}", status: 422))
        backend.addPlugin("broken", script: "class Plugin:\n    def __init__(self): {}['x']\n", functions: ["f"])
        let folder = try TemporaryFolder()
        _ = try await AgentProcess.run(["run", "--once"] + settings(backend.server.url), directory: folder.path)
        let status = try await status(in: folder, problems: ["plugin.constructor_failed", "outbox.dead_letters"])
        #expect((status.at("problems.0.message") as? String)?.contains("KeyError: 'x'") == true)
    }

    @Test func aBackendThatIsAwayForLongIsAProblem() async throws {
        let folder = try TemporaryFolder()
        _ = try await AgentProcess.run(
            ["run", "--once", "--set", "server_url=http://127.0.0.1:1", "--set", "auth=no"], directory: folder.path)
        // For a moment it is none.
        _ = try await status(in: folder, problems: [])
        let journal = try await RunJournal.openShared(directory: folder.path("state"))
        let before = RFC3339.string(from: Date().addingTimeInterval(-7200))
        try await journal.keep(
            snapshots: [
                "backend":
                    #"{"at": "\#(before)", "code": "http.unreachable", "last_success": "\#(before)", "problem": "no"}"#
            ], at: Date())
        await journal.close()
        _ = try await status(in: folder, problems: ["http.unreachable"])
    }

    @Test(.enabled(if: TemporaryMount.isPossible)) func aDiskThatCanNotBeWrittenIsAProblem() async throws {
        let backend = try ScriptedBackend()
        let disk = try TemporaryMount(kibibytes: 8192)
        let arguments = ["--set", "state_directory=\(disk.path)/state", "--set", "auth=no"]
        let folder = try TemporaryFolder()
        _ = try await AgentProcess.run(
            ["run", "--once", "--set", "server_url=\(backend.server.url)"] + arguments, directory: folder.path)
        #expect(try await AgentProcess.run(["status"] + arguments, directory: folder.path).status == 0)
        _ = try disk.fill()
        let output = try await AgentProcess.run(["status"] + arguments, directory: folder.path)
        #expect(output.status == 1 && output.stdout.contains("[journal.unwritable]"), "\(output.stdout)")
    }

    // MARK: Plugins and their results

    /// Calls that swallow the exception which is to stop them keep their threads.
    @Test func aPluginWhoseCallsCanNotBeStoppedIsAProblem() async throws {
        let backend = try ScriptedBackend()
        let script = """
            import time
            class Plugin:
                def ignore(self):
                    end = time.monotonic() + 30
                    while time.monotonic() < end:
                        try: time.sleep(0.01)
                        except BaseException: pass
            """
        backend.addPlugin("deaf", script: script, functions: ["ignore"])
        for number in 1...3 {
            backend.addTask(#"{"id": "t\#(number)", "command": "deaf.ignore", "cron": null, "arguments": "{}"}"#)
        }
        let folder = try TemporaryFolder()
        try """
        [agent]
        server_url = \(backend.server.url)
        auth = False
        poll_interval = 1
        [plugin:deaf]
        task_timeout = 1
        concurrency = 3
        """.write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        _ = try await AgentProcess.run(["run"], directory: folder.path) { process in
            defer { kill(process, SIGKILL) }
            for number in 1...3 { await backend.server.request(to: "/api/agent/task/t\(number)") }
            backend.addTask(#"{"id": "t4", "command": "deaf.ignore", "cron": null, "arguments": "{}"}"#)
            await backend.server.request(to: "/api/agent/task/t4")
            let status = try await status(in: folder, problems: ["plugin.stuck"])
            #expect(status["stuck_plugins"] as? [String] == ["deaf"])
            let text = try await AgentProcess.run(["status"], directory: folder.path)
            #expect(text.stdout.contains(#"calls of the plugin "deaf" could not be stopped"#), "\(text.stdout)")
        }
        #expect(try backend.results(of: "t4").map(\.error?.code) == ["plugin.stuck"])
    }

    @Test func anOutboxThatIsFullIsAProblem() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin(
            "large", script: "class Plugin:\n    def make(self): return 'x' * 1200000\n", functions: ["make"])
        backend.addTask(#"{"id": "t1", "command": "large.make", "cron": null, "arguments": "{}"}"#)
        backend.server.route("/api/agent/task/t1", .json("{}", status: 503, headers: ["Retry-After": "3600"]))
        let folder = try TemporaryFolder()
        let arguments = ["run", "--once"] + settings(backend.server.url) + ["--set", "outbox_limit=1 MiB"]
        _ = try await AgentProcess.run(arguments, directory: folder.path)
        let output = try await AgentProcess.run(
            ["status", "--json", "--set", "auth=no", "--set", "outbox_limit=1 MiB"], directory: folder.path)
        let status = try #require(try output.jsonLines().first)
        #expect(codes(status) == ["outbox.full"] && output.status == 1, "\(output)")
        // With the room that it has without a setting it is none.
        _ = try await self.status(in: folder, problems: [])
    }

    @Test func programsThatRunsHaveLeftAreCounted() async throws {
        let backend = try ScriptedBackend()
        let script = """
            import subprocess
            class Plugin:
                def leave(self): return subprocess.Popen(["/bin/sleep", "60"]).pid
            """
        backend.addPlugin("leaver", script: script, functions: ["leave"])
        for number in 1...2 {
            backend.addTask(#"{"id": "t\#(number)", "command": "leaver.leave", "cron": null, "arguments": "{}"}"#)
        }
        let folder = try TemporaryFolder()
        _ = try await AgentProcess.run(["run"] + settings(backend.server.url), directory: folder.path) { process in
            for number in 1...2 { await backend.server.request(to: "/api/agent/task/t\(number)") }
            let left = try await poll(["status", "--set", "auth=no"], in: folder.path) { lines in
                lines.first?["left_programs"] as? Int == 2
            }
            #expect(left.first.map(codes) == [])
            let text = try await AgentProcess.run(["status", "--set", "auth=no"], directory: folder.path)
            #expect(text.status == 0 && text.stdout.contains("programs"), "\(text.stdout)")
            for number in 1...2 {
                for result in try backend.results(of: "t\(number)") {
                    if let left = result.data.flatMap(pid_t.init) { kill(left, SIGKILL) }
                }
            }
            _ = try await poll(["status", "--set", "auth=no"], in: folder.path) { lines in
                lines.first?["left_programs"] as? Int == 0
            }
            kill(process, SIGTERM)
        }
    }

    // MARK: Sections of plugins

    private static let here = "class Plugin:\n    def where(self): return 'here'\n"

    private func configure(_ text: String, _ backend: ScriptedBackend, _ folder: TemporaryFolder) throws {
        let base = "[agent]\nserver_url = \(backend.server.url)\nauth = False\n[sandbox]\nmode = prefer\n"
        try (base + text).write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
    }

    private func publish(_ id: String, _ backend: ScriptedBackend) {
        backend.addPlugin(id, script: Self.here, functions: ["where"]) { $0["name"] = "Reports" }
        backend.addTask(#"{"id": "task-\#(id)", "command": "\#(id).where", "cron": null, "arguments": "{}"}"#)
    }

    // Each publication has another id, and policy was keyed by that alone: it ran in the agent's process, silently.
    @Test func aNewVersionThatLeftTheSandboxIsSaidEverywhere() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        publish("v1", backend)
        try configure("[plugin:v1]\nisolation = sandbox\n", backend, folder)
        #expect(try await AgentProcess.run(["run", "--once"], directory: folder.path).status == 0)
        #expect(try backend.results(of: "task-v1").first?.isolation?.hasPrefix("sandbox") == true)
        _ = try await status(in: folder, problems: [])

        publish("v2", backend)
        let output = try await AgentProcess.run(["run", "--once"], directory: folder.path)
        #expect(output.stderr.contains("plugin.left_sandbox") && output.stderr.contains("[plugin-name:Reports]"))
        _ = try await status(in: folder, problems: ["plugin.left_sandbox"])
        let list = try await AgentProcess.run(["plugin", "list"], directory: folder.path)
        #expect(list.stdout.contains("in-process, was sandbox"), "\(list.stdout)")
        let rows = try await AgentProcess.run(["plugin", "list", "--json"], directory: folder.path).jsonLines()
        #expect(rows.compactMap { $0["sandbox_left"] as? String } == ["[plugin:v1]"])

        publish("v3", backend)
        try configure(
            "[plugin:v1]\nisolation = sandbox\n[plugin-name:Rep*]\nisolation = sandbox\n", backend, folder)
        #expect(try await AgentProcess.run(["run", "--once"], directory: folder.path).status == 0)
        #expect(try backend.results(of: "task-v3").first?.isolation?.hasPrefix("sandbox") == true)
        _ = try await status(in: folder, problems: [])
    }

    @Test func aSectionThatMatchesNothingIsAWarning() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        publish("v1", backend)
        try configure(
            "[plugin:typo]\nconcurrency = 2\n[plugin-name:Report]\nconcurrency = 2\n[plugin-name:R*]\n[plugin:v1]\n"
                + "[plugin:file]\nisolation = sandbox\n", backend, folder)
        let output = try await AgentProcess.run(["run", "--once"], directory: folder.path)
        #expect(output.status == 0, "\(output.stderr)")
        for title in ["[plugin:typo]", "[plugin-name:Report]"] {
            #expect(output.stderr.contains("the section \(title) matches no plugin"), "\(output.stderr)")
        }
        let status = try await status(in: folder, problems: [])
        #expect((status["notices"] as? [Any])?.count == 2)
        let text = try await AgentProcess.run(["status"], directory: folder.path)
        #expect(text.status == 0 && text.stdout.contains("[configuration.unmatched_section]"), "\(text.stdout)")
    }

    @Test func theLastAnswerIsKnownThroughFailuresAndRestarts() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        _ = try await AgentProcess.run(["run", "--once"] + settings(backend.server.url), directory: folder.path)
        let answered = try #require(try await status(in: folder).at("backend.last_success") as? String)
        backend.server.route("/api/agent", .json("{}", status: 500))
        let failed = try await AgentProcess.run(
            ["run", "--once"] + settings(backend.server.url), directory: folder.path)
        #expect(failed.status == 1)
        let status = try await status(in: folder)
        #expect(status.at("backend.code") as? String == "backend.status")
        #expect(status.at("backend.last_success") as? String == answered)
        #expect(status.at("backend.at") as? String != answered)
        let text = try await AgentProcess.run(["status"], directory: folder.path).stdout
        #expect(text.contains("[backend.status]"))
    }

    @Test func whatIsWrittenDownIsBounded() async throws {
        let backend = try ScriptedBackend()
        for number in 100..<180 {
            backend.addTask(
                #"{"id": "t\#(number)", "command": "good-plugin.hello", "cron": "0 0 1 1 *", "arguments": "{}"}"#)
        }
        let folder = try TemporaryFolder()
        _ = try await AgentProcess.run(["run", "--once"] + settings(backend.server.url), directory: folder.path)
        let status = try await status(in: folder)
        #expect(status.at("schedules.total") as? Int == 80)
        let first = try #require(status.at("schedules.first") as? [[String: Any]])
        #expect(first.map { $0["task_id"] as? String } == (100..<150).map { "t\($0)" })
        let text = try await AgentProcess.run(["status"], directory: folder.path).stdout
        #expect(text.contains("and 30 more"))
    }
}
