import AgentModel
import AgentTestSupport
import Foundation
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

    private func status(in folder: TemporaryFolder) async throws -> [String: Any] {
        let output = try await AgentProcess.run(["status", "--json", "--set", "auth=no"], directory: folder.path)
        #expect(output.status == 0, "\(output.stderr)")
        let lines = try output.jsonLines()
        #expect(lines.count == 1)
        return lines.first ?? [:]
    }

    /// The tasks of the runs in flight. `good` may be among them: it has begun and waits for the GIL.
    private func running(_ status: [String: Any]) -> [String] {
        (status.at("running.first") as? [[String: Any]] ?? []).compactMap { $0["task"] as? String }
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
            #expect(status.at("waiting.first.0.task") as? String == "early")
            #expect((status.at("waiting.first.0.reason") as? String)?.contains("gone") == true)
            let plugins = try #require(status.at("plugins.first") as? [[String: Any]])
            #expect(plugins.map { $0["id"] as? String } == ["gone", "good-plugin", "wedger"])
            #expect(plugins.map { $0["state"] as? String } == states)
            #expect(status.at("schedules.first.0.task") as? String == "yearly")
            #expect((status.at("schedules.first.0.next") as? String)?.isEmpty == false)
            let contact = try #require((status.at("backend.at") as? String).flatMap(RFC3339.date))
            #expect(contact > before.addingTimeInterval(-1) && contact < Date().addingTimeInterval(1))

            // A daemon that can do nothing at all.
            kill(process, SIGSTOP)
            status = try await self.status(in: folder)
            #expect(status.at("agent.state") as? String == "running")
            let text = try await AgentProcess.run(["status"], directory: folder.path).stdout
            #expect(
                text.contains("running, process \(process)") && text.contains("hold") && text.contains("nobody.knows"))
        }
        #expect(daemon.status == -SIGKILL)

        let status = try await status(in: folder)
        #expect(status.at("agent.state") as? String == "died")
        #expect(status.at("agent.process_id") == nil)
        #expect(running(status).contains("hold"))
        #expect(status.at("plugins.total") as? Int == 3)
        let text = try await AgentProcess.run(["status"], directory: folder.path).stdout
        #expect(text.contains("did not end by itself") && text.contains("cut off"))
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
        #expect(first.map { $0["task"] as? String } == (100..<150).map { "t\($0)" })
        let text = try await AgentProcess.run(["status"], directory: folder.path).stdout
        #expect(text.contains("and 30 more"))
    }
}
