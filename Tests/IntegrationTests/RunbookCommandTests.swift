import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import Testing

/// `runbook` as a person calls it, against a live backend with a real agent.
@Suite(.serialized) struct RunbookCommandTests {
    private static let script = """
        import sys, time
        class Plugin:
            def usage(self, path):
                return {"path": path, "used_percent": 6.2}
            def talk(self):
                print("one")
                print("two", file=sys.stderr)
                return 3
            def silent(self): print("all of it")
            def fail(self): raise ValueError("no")
            def wait(self):
                print("begun", flush=True)
                while True: time.sleep(0.02)
        """

    @Test func aCommandIsRunAndItsResultShown() async throws {
        try await withHost { host in
            let usage = try await host.runbook("run", "kitchen", "usage", "path=/var")
            #expect(usage.status == 0, "\(usage)")
            #expect(usage.stdout == #"{"path": "/var", "used_percent": 6.2}"# + "\n")
            #expect(usage.stderr == "")
            let talk = try await host.runbook("run", "kitchen", "\(host.plugin).talk")
            #expect(talk.stdout == "one\n3\n" && talk.stderr == "two\n" && talk.status == 0, "\(talk)")
            // What it printed is the result of a method that returns nothing: once.
            #expect(try await host.runbook("run", "kitchen", "silent").stdout == "all of it\n")
            let json = try await host.runbook("run", host.agent, "talk", "--json").jsonLines()
            #expect(json.count == 1 && json[0]["status"] as? String == "succeeded")
        }
    }

    @Test func whatFailsExitsWithOneAndShowsTheTraceback() async throws {
        try await withHost { host in
            let fail = try await host.runbook("run", "kitchen", "fail")
            #expect(fail.status == 1 && fail.stdout == "", "\(fail)")
            #expect(fail.stderr.contains("Traceback") && fail.stderr.contains("ValueError: no"))
            let missing = try await host.runbook("run", "kitchen", "usages")
            #expect(missing.status == 1 && missing.stderr.contains("\(host.plugin).usage"), "\(missing)")
            let unknown = try await host.runbook("run", "cellar", "usage")
            #expect(unknown.status == 1 && unknown.stderr.contains("kitchen"), "\(unknown)")
            #expect(try await host.runbook("run", "kitchen").status == 2)
            #expect(try await host.runbook("run", "kitchen", "usage", "path").status == 2)
            #expect(try await host.runbook("run", "--hosts", "", "usage").status == 2)
            #expect(try await host.runbook("run", "--all", "kitchen", "usage").status == 2)
        }
    }

    @Test func withoutAnAnswerInTimeTheTaskStaysAndCanBeCancelled() async throws {
        try await withHost { host in
            let late = try await host.runbook("run", "kitchen", "wait", "--timeout", "1.5")
            #expect(late.status == 3 && late.stdout == "begun\n", "\(late)")
            let tasks = try await host.runbook("tasks", "list", "--json").jsonLines()
            let id = try #require(tasks.last?["id"] as? String)
            #expect(late.stderr.contains(id))
            let running = try await host.runbook("runs", "running", "--json").jsonLines()
            #expect(running.map { $0["task_id"] as? String } == [id])
            #expect(try await host.runbook("cancel", id, "--reason", "enough").status == 0)
            let logs = try await host.runbook("logs", id, "--follow")
            #expect(logs.status == 1 && logs.stdout == "begun\n" && logs.stderr.contains("(enough)"), "\(logs)")
            let again = try await host.runbook("cancel", id)
            #expect(again.status == 1 && again.stderr.contains("task.has_ended"), "\(again)")
        }
    }

    @Test func manyHostsHaveALineEachAndASummary() async throws {
        try await withHost { host in
            // One that never answers.
            let other = try await host.backend.service.registerAgent(id: "attic-1", name: "attic")
            _ = try await host.backend.service.assign(host.plugin, to: other.id)
            let all = try await host.runbook("run", "--all", "usage", "path=/", "--timeout", "1")
            #expect(all.status == 3, "\(all)")
            #expect(all.stdout.contains("kitchen: {\"path\"") && all.stdout.contains("attic: no result yet"))
            #expect(all.stderr.contains("2 hosts: 1 succeeded, 1 without a result"))
            // The task of the one without a result stays: it is not run once more.
            #expect(!all.stderr.contains("--retry-failed"))
            let failed = try await host.runbook("run", "--hosts", "kitchen,kitchen", "fail")
            #expect(
                failed.status == 1 && failed.stdout == "kitchen: failed: ValueError: no (line 10, in fail)\n",
                "\(failed)")
            let id = try #require(failed.stderr.split(separator: " ").drop { $0 != "--retry-failed" }.dropFirst().first)
            let again = try await host.runbook("run", "--retry-failed", String(id))
            #expect(again.status == 1 && again.stdout == failed.stdout, "\(again)")
            let none = try await host.runbook("run", "--team", "nobody", "usage")
            #expect(none.status == 1 && none.stderr.contains("client.no_hosts"))
        }
    }

    @Test func whatTheAdministrationAPICanIsThereAsACommand() async throws {
        try await withHost { host in
            let folder = try TemporaryFolder()
            try "class Plugin:\n    def hi(self): return 'hi'\n"
                .write(toFile: folder.path("hi.py"), atomically: true, encoding: .utf8)
            let published = try await host.runbook("plugins", "publish", folder.path("hi.py"), "--command", "hi")
            let plugin = published.stdout.trimmingCharacters(in: .newlines)
            #expect(published.status == 0, "\(published)")
            #expect(try await host.runbook("plugins", "assign", plugin, "kitchen").status == 0)
            #expect(try await host.runbook("run", "kitchen", "hi").stdout == "hi\n")
            #expect(try await host.runbook("plugins", "show", plugin, "--script").stdout.hasPrefix("class Plugin"))
            let created = try await host.runbook(
                "tasks", "create", "kitchen", "hi", "--cron", "0 0 1 1 *", "--id", "yearly")
            #expect(created.stdout == "yearly\n", "\(created)")
            #expect(try await host.runbook("tasks", "disable", "yearly").status == 0)
            #expect(try await host.runbook("tasks", "show", "yearly").stdout.contains("disabled"))
            #expect(try await host.runbook("tasks", "delete", "yearly").status == 0)
            #expect(try await host.runbook("agents", "edit", "kitchen", "--team", "house").status == 0)
            #expect(try await host.runbook("agents", "show", "kitchen").stdout.contains("house"))
            #expect(try await host.runbook("runs", "list", "--agent", "kitchen").stdout.contains("succeeded"))
            #expect(try await host.runbook("devices", "list").status == 0)
            #expect(try await host.runbook("plugins", "unassign", plugin, "kitchen").status == 0)
            #expect(try await host.runbook("plugins", "delete", plugin).status == 0)
        }
    }

    @Test func aFolderIsAppliedOnce() async throws {
        try await withHost { host in
            let folder = try TemporaryFolder()
            try "class Plugin:\n    def hi(self, name): return 'hi ' + name\n"
                .write(toFile: folder.path("hi.py"), atomically: true, encoding: .utf8)
            try """
            plugins:
              hi: {script: hi.py, commands: {hi: hi}, on: {all: true}}
            tasks:
              once: {command: hi.hi, arguments: {name: ada}, on: {hosts: [kitchen]}}
            """.write(toFile: folder.path("fleet.yaml"), atomically: true, encoding: .utf8)
            let dry = try await host.runbook("apply", folder.path, "--dry-run")
            #expect(dry.status == 0 && dry.stdout.contains("+ task managed.once."), "\(dry)")
            #expect(try await host.runbook("apply", folder.path).stdout == dry.stdout)
            let run = try await host.backend.waitForRuns(ofTask: "managed.once.\(host.agent)")
            #expect(run[0].result.data == "hi ada")
            #expect(try await host.runbook("apply", folder.path, "--prune").stdout == "nothing to change\n")
        }
    }

    /// Ctrl-C asks; yes cancels, no goes on, and a second one leaves at once.
    @Test(arguments: [
        ("y", 1, "cancelled"), ("n", 1, "cancelled"), ("\u{3}", 3, "stays"),
    ])
    func inATerminalCtrlCAsks(_ answer: String, _ status: Int32, _ says: String) async throws {
        try await withHost { host in
            // After "no" it goes on, until it is asked again.
            let steps =
                [("begun", "\u{3}"), ("[y/N]", answer == "\u{3}" ? answer : answer + "\n")]
                + (answer == "n" ? [("", "\u{3}"), ("[y/N]", "y\n")] : [])
            let output = try await host.terminal(["run", "kitchen", "wait"], steps)
            #expect(output.status == status && output.stdout.contains(says), "\(output)")
        }
    }

    @Test func inATerminalTheTokenIsNotShown() async throws {
        try await withHost { host in
            let token = host.backend.administrationToken
            let output = try await host.terminal(["login", host.backend.url], [("token:", token + "\n")])
            #expect(output.status == 0 && !output.stdout.contains(token), "\(output)")
        }
    }

    @Test func loggedInOnceTheAddressIsKnown() async throws {
        try await withHost { host in
            let folder = try TemporaryFolder()
            let environment = ["HOME": folder.path]
            let script =
                "echo \(host.backend.administrationToken) | \(AgentProcess.built("runbook")) login \(host.backend.url)"
            let login = try await AgentProcess.run([], environment: environment, command: ["/bin/sh", "-c", script])
            #expect(login.status == 0, "\(login)")
            let list = try await AgentProcess.run(
                [], environment: environment, command: [AgentProcess.built("runbook"), "agents", "list"])
            #expect(list.status == 0 && list.stdout.contains("kitchen"), "\(list)")
            // The token is not sent elsewhere.
            let other = try await AgentProcess.run(
                [], environment: environment.merging(["RUNBOOK_URL": "http://127.0.0.1:1"]) { $1 },
                command: [AgentProcess.built("runbook"), "agents", "list"])
            #expect(other.status == 1 && other.stderr.contains("client.not_logged_in"), "\(other)")
            let wrong = try await AgentProcess.run(
                [], environment: environment.merging(["RUNBOOK_TOKEN": "rba_wrong"]) { $1 },
                command: [AgentProcess.built("runbook"), "agents", "list"])
            #expect(wrong.status == 1 && wrong.stderr.contains("administration.unauthorized"), "\(wrong)")
        }
    }

    // MARK: What they need

    /// Runs a program in a terminal of its own: when a text has come, keys are pressed. What it shows is printed.
    private static let terminal = """
        import json, os, pty, sys, time
        steps, arguments = json.loads(sys.argv[1]), sys.argv[2:]
        process, terminal = pty.fork()
        if process == 0:
            os.execv(arguments[0], arguments)
        shown, seen, end = b"", 0, time.monotonic() + 60
        os.set_blocking(terminal, False)
        while time.monotonic() < end:
            try:
                piece = os.read(terminal, 65536)
                shown += piece
            except BlockingIOError:
                piece = None
                time.sleep(0.02)
            except OSError:
                break
            if piece == b"": break
            if steps and steps[0][0].encode() in shown[seen:]:
                seen = len(shown)
                time.sleep(0.3)
                os.write(terminal, steps.pop(0)[1].encode())
        else:
            os.kill(process, 9)
        sys.stdout.buffer.write(shown)
        sys.stdout.flush()
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) & 0xFF)
        """

    private struct Host {
        let backend: LiveBackend
        let plugin: String
        let agent: String
        let home: TemporaryFolder

        private var environment: [String: String] {
            ["RUNBOOK_URL": backend.url, "RUNBOOK_TOKEN": backend.administrationToken, "HOME": home.path]
        }

        func runbook(_ arguments: String...) async throws -> AgentProcess.Output {
            try await AgentProcess.run(
                [], environment: environment, command: [AgentProcess.built("runbook")] + arguments)
        }

        func terminal(_ arguments: [String], _ steps: [(String, String)]) async throws -> AgentProcess.Output {
            let steps = JSONValue.array(steps.map { [.string($0.0), .string($0.1)] }).text
            return try await AgentProcess.run(
                [], environment: environment,
                command: ["/usr/bin/python3", "-c", RunbookCommandTests.terminal, steps, AgentProcess.built("runbook")]
                    + arguments)
        }
    }

    private func withHost(_ body: (Host) async throws -> Void) async throws {
        try await LiveBackend.withLiveBackend { backend in
            let names = ["usage", "talk", "silent", "fail", "wait"]
            let plugin = try await backend.addPlugin(
                script: Self.script, functions: Dictionary(uniqueKeysWithValues: names.map { ($0, $0) }))
            let agent = try await backend.localAgentID()
            _ = try await backend.service.updateAgent(agent, AgentChange(name: .set("kitchen")))
            let folder = try TemporaryFolder()
            let output = try await AgentProcess.run([
                "run", "--set", "server_url=\(backend.url)", "--set", "auth=False", "--set", "poll_interval=3600",
                "--set", "shutdown_grace=0", "--set", "plugin_directory=\(folder.path("plugins"))", "--set",
                "state_directory=\(folder.path("state"))",
            ]) { process in
                try await eventually("it waits", within: .seconds(60)) { backend.service.waitingAgents == 1 }
                try await body(Host(backend: backend, plugin: plugin.id, agent: agent, home: try TemporaryFolder()))
                kill(process, SIGTERM)
            }
            #expect(output.status == 0, "\(output.stderr)")
        }
    }
}
