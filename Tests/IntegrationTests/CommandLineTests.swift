// More than 400 lines: one case or two for each command.

import AgentModel
import AgentTestSupport
import Cryptography
import Foundation
import SystemPackage
import Testing

/// What a person types and sees.
@Suite struct CommandLineTests {
    // MARK: schedule next

    @Test func scheduleNextPrintsJSONLines() async throws {
        let output = try await AgentProcess.run([
            "schedule", "next", "*/15 9 * * mon-fri", "--count", "2", "--from", "2026-11-23T08:50:00Z", "--timezone",
            "Europe/Berlin", "--json",
        ])
        #expect(output.status == 0, "\(output.stderr)")
        let lines = try output.jsonLines()
        #expect(lines.map { $0["utc"] as? String } == ["2026-11-24T08:00:00Z", "2026-11-24T08:15:00Z"])
        #expect(lines.first?["local"] as? String == "2026-11-24T09:00:00+01:00")
    }

    @Test func aWrongExpressionKeepsNoOtherFromBeingPrinted() async throws {
        let output = try await AgentProcess.run([
            "schedule", "next", "61 * * * *", "0 9 * * *", "nonsense", "--count", "1", "--from",
            "2026-11-23T08:50:00Z", "--timezone", "UTC", "--json",
        ])
        #expect(output.status == 1)
        #expect(try output.jsonLines().map { $0["utc"] as? String } == ["2026-11-23T09:00:00Z"])
        #expect(output.stderr.contains("61 * * * *") && output.stderr.contains("nonsense"), "\(output.stderr)")
    }

    @Test func aScheduleThatNeverFiresSaysSo() async throws {
        let output = try await AgentProcess.run(["schedule", "next", "0 0 30 2 *"])
        #expect(output.stderr.contains("never fires") || output.stderr.contains("task.invalid_cron"))
    }

    struct Failure: Sendable, CustomTestStringConvertible {
        var arguments: [String]
        var status: Int32
        var says: String
        var testDescription: String { arguments.joined(separator: " ") }
    }

    @Test(arguments: [
        Failure(arguments: ["schedule", "next", "61 * * * *"], status: 1, says: "task.invalid_cron"),
        Failure(
            arguments: ["schedule", "next", "* * * * *", "--timezone", "Mars/Phobos"], status: 1, says: "Mars/Phobos"),
        Failure(arguments: ["schedule", "next"], status: 2, says: "expressions"),
        Failure(arguments: ["schedule", "next", "* * * * *", "--count", "0"], status: 2, says: "--count"),
        Failure(arguments: ["nonsense"], status: 2, says: "nonsense"),
        Failure(arguments: ["run", "--nonsense"], status: 2, says: "--nonsense"),
        Failure(arguments: ["run", "--config", "/nowhere.ini"], status: 1, says: "/nowhere.ini"),
        Failure(
            arguments: ["run", "--no-login", "--set", "server_url=http://127.0.0.1:1"], status: 77,
            says: "runbook-agent login"),
        Failure(
            arguments: ["run", "--once", "--set", "server_url=http://127.0.0.1:1"], status: 77, says: "login.required"),
        Failure(
            arguments: ["run", "--set", "server_url=http://backend.example"], status: 1, says: "login.insecure_server"),
        Failure(
            arguments: ["login", "--set", "server_url=http://127.0.0.1:1", "--set", "auth=no"], status: 2, says: "auth"),
        Failure(
            arguments: ["login", "--set", "server_url=http://127.0.0.1:1", "--token-file", "/nowhere"], status: 1,
            says: "login.token_file"),
        Failure(arguments: ["login", "--no-wait", "--token-file", "x"], status: 2, says: "exclude"),
        Failure(
            arguments: ["login", "--no-wait", "--set", "server_url=http://127.0.0.1:1"], status: 1,
            says: "http.unreachable"),
        Failure(arguments: ["run", "--set", "wokers=1"], status: 1, says: "workers"),
        Failure(arguments: ["plugin", "call", "/nowhere.py", "x"], status: 1, says: "/nowhere.py"),
        Failure(arguments: ["plugin", "call", "x.py", "_x"], status: 2, says: "_x"),
        Failure(arguments: ["plugin", "show", "../x"], status: 1, says: "plugin.invalid_id"),
        Failure(arguments: ["plugin", "show", "nobody"], status: 1, says: "plugin.not_stored"),
        Failure(arguments: ["plugin", "verify", "nobody"], status: 1, says: "plugin.not_stored"),
        Failure(arguments: ["plugin", "call", "nobody", "x"], status: 1, says: "plugin.not_stored"),
        Failure(arguments: ["history", "--status", "great"], status: 2, says: "timed_out"),
        Failure(arguments: ["history", "--limit", "0"], status: 2, says: "--limit"),
        Failure(arguments: ["history", "show", "x"], status: 2, says: "history"),
        Failure(arguments: ["outbox", "list", "--limit", "-1"], status: 2, says: "--limit"),
        Failure(arguments: ["outbox", "retry"], status: 2, says: "--all"),
        Failure(arguments: ["outbox", "discard"], status: 2, says: "--all"),
    ])
    func wrongUseIsNamed(_ example: Failure) async throws {
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(example.arguments, directory: folder.path)
        #expect(output.status == example.status, "\(output.stderr)")
        #expect(output.stderr.contains(example.says), "\(output.stderr)")
        #expect(output.stdout.isEmpty)
    }

    @Test(arguments: [
        [], ["run"], ["doctor"], ["plugin"], ["command"], ["schedule"], ["outbox"], ["plugin", "release"],
        ["plugin", "list"], ["plugin", "show"], ["plugin", "verify"], ["plugin", "call"],
        ["command", "list"], ["schedule", "next"], ["status"], ["history"], ["history", "show"], ["outbox", "list"],
        ["outbox", "retry"], ["outbox", "discard"], ["login"], ["logout"],
    ])
    func helpShowsAnExample(_ command: [String]) async throws {
        let output = try await AgentProcess.run(command + ["--help"])
        #expect(output.status == 0)
        #expect(output.stdout.contains("EXAMPLE"), "\(output.stdout)")
    }

    @Test func agentAndBackendHaveOneVersion() async throws {
        let agent = try await AgentProcess.run(["--version"])
        let backend = try await AgentProcess.run(
            [], command: [AgentProcess.built("runbook-backend"), "--version"])
        #expect(agent.status == 0 && backend.status == 0)
        #expect(!agent.stdout.isEmpty && agent.stdout == backend.stdout)
    }

    // MARK: plugin call

    private static let script = """
        import os, subprocess, sys
        class Plugin:
            def add(self, a, b=1):
                return a + b
            def talk(self):
                print("out")
                print("err", file=sys.stderr)
            def leak(self):
                os.write(1, b"from C\\n")
                subprocess.run(["/bin/echo", "from a program"])
                return {"ok": True}
            def fail(self):
                raise ValueError("no such thing")
            def steer(self):
                raise ValueError("\\x1b]0;title\\x07\\x9b31m\\u202e")
            def key(self):
                print("before")
                return {}["missing"]
            def missing_module(self):
                import no_such_module_here
        """

    @Test func aFileIsCalledAsTheAgentWould() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        try Self.script.write(toFile: file, atomically: true, encoding: .utf8)

        var output = try await AgentProcess.run(["plugin", "call", file, "add", "--arguments", #"{"a": 41}"#])
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stdout == "42\n")

        output = try await AgentProcess.run(["plugin", "call", file, "talk"])
        #expect(output.stdout == "out\n")
        #expect(output.stderr == "err\n")

        output = try await AgentProcess.run(["plugin", "call", file, "leak", "--json"])
        #expect(try output.jsonLines().map { $0["data"] as? String } == [#"{"ok": true}"#])
        // What a program writes is the run's; of C code nobody can tell whose it is.
        #expect(try output.jsonLines().map { $0["stdout"] as? String } == ["from a program\n"])
        #expect(output.stderr.contains("from C"))

        output = try await AgentProcess.run(["plugin", "call", file, "fail"])
        #expect(output.status == 1)
        #expect(output.stderr.contains("line 13, in fail") && output.stderr.contains("plugin.exception"))

        // Nothing in an exception of a plugin's reaches the terminal as an order.
        for flags in [[], ["--json"]] {
            output = try await AgentProcess.run(["plugin", "call", file, "steer"] + flags)
            #expect((output.stdout + output.stderr).contains("title"))
            #expect(
                !(output.stdout + output.stderr).unicodeScalars.contains {
                    $0.value < 0x20 && $0 != "\n" && $0 != "\t" || 0x7F...0x9F ~= $0.value
                })
        }

        output = try await AgentProcess.run(["plugin", "call", file, "add", "--json"])
        #expect(output.status == 1)
        let error = try output.jsonLines().first?["error"] as? [String: Any]
        #expect(error?["code"] as? String == "task.argument_mismatch")
    }

    @Test func anErrorOfAFileSaysWhatAndWhere() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        func call(_ script: String, _ arguments: String...) async throws -> AgentProcess.Output {
            try script.write(toFile: file, atomically: true, encoding: .utf8)
            return try await AgentProcess.run(["plugin", "call", file] + arguments, directory: folder.path)
        }
        var output = try await call(Self.script, "key")
        #expect(output.status == 1 && output.stdout == "before\n")
        #expect(
            output.stderr.contains("error: KeyError: 'missing' (line 18, in key) [plugin.exception]"),
            "\(output.stderr)")
        output = try await call(Self.script, "missing_module")
        #expect(output.stderr.contains("ModuleNotFoundError: No module named 'no_such_module_here'"))
        #expect(output.stderr.contains("pip install --target") && output.stderr.contains("python_path"))
        output = try await call(Self.script, "nothing")
        #expect(output.stderr.contains("no method \"nothing\"; it has \"add\", \"fail\", \"key\""), "\(output.stderr)")

        output = try await call("\nclass Plugin:\n    def __init__(self):\n        {}['x']\n", "f")
        #expect(output.status == 1 && output.stderr.contains("line 4, in __init__"), "\(output.stderr)")
        #expect(output.stderr.contains("KeyError: 'x'") && output.stderr.contains("plugin.constructor_failed"))
        #expect(!output.stderr.contains("publish"))
        output = try await call("import no_such_module_here\nclass Plugin: pass\n", "f")
        #expect(output.stderr.contains("line 1, in <module>") && output.stderr.contains("python_path"))
    }

    @Test(arguments: ["in-process", "sandbox"])
    func whatAFailingScriptPrintedIsShown(_ isolation: String) async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        chmod(folder.path, 0o755)
        try "[agent]\nisolation = \(isolation)\n[sandbox]\nmode = prefer\n"
            .write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        try "print('x' * 100000)\nraise KeyError('missing')\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        let output = try await AgentProcess.run(["plugin", "call", file, "f"], directory: folder.path)
        #expect(output.status == 1 && output.stderr.contains("KeyError"), "\(output.stderr)")
        #expect(output.stdout == String(repeating: "x", count: 100_000) + "\n")
    }

    // The settings of a file's section, and what a refusal says of the policy.
    @Test func aFileHasASectionOfItsOwn() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        try """
        class Plugin:
            def read(self):
                open("/root/secret")
            def scan(self):
                import socket
                socket.create_connection(("192.0.2.1", 80))
        """.write(toFile: file, atomically: true, encoding: .utf8)
        try "[agent]\n[sandbox]\nmode = prefer\n[plugin:file]\nisolation = sandbox\nread_paths = /usr/share\n"
            .write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        var output = try await AgentProcess.run(["plugin", "call", file, "read", "--json"], directory: folder.path)
        let result = try #require(try output.jsonLines().first)
        #expect((result["isolation"] as? String)?.hasPrefix("sandbox") == true, "\(output.stderr)")
        #expect((result.at("error.message") as? String)?.contains("read_paths = /usr/share") == true, "\(result)")
        output = try await AgentProcess.run(["plugin", "call", file, "scan"], directory: folder.path)
        #expect(output.stderr.contains("network = none"), "\(output.stderr)")
    }

    // Ctrl-C lost everything that had been printed, and on a busy host the call went on: the signal came after it was
    // no longer the default and before it was waited for.
    @Test(arguments: ["in-process", "sandbox"], [SIGINT, SIGTERM, SIGHUP])
    func anInterruptedCallKeepsWhatItPrinted(_ isolation: String, _ signal: Int32) async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        try """
        import time
        class Plugin:
            def wait(self, path):
                print("printed")
                open(path, "w").close()
                while True: time.sleep(0.01)
        """.write(toFile: file, atomically: true, encoding: .utf8)
        let mark = folder.path("marks/begun")
        try FileManager.default.createDirectory(atPath: folder.path("marks"), withIntermediateDirectories: false)
        chmod(folder.path("marks"), 0o777)
        chmod(folder.path, 0o755)
        try "[agent]\nisolation = \(isolation)\n[sandbox]\nmode = prefer\nwrite_paths = marks\n"
            .write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        let output = try await AgentProcess.run(
            ["plugin", "call", file, "wait", "--arguments", #"{"path": "\#(mark)"}"#], directory: folder.path
        ) { process in
            try await eventually("it has begun") { access(mark, F_OK) == 0 }
            kill(process, signal)
        }
        #expect(output.status == 128 + signal, "\(output.stderr)")
        #expect(output.stdout == "printed\n", "\(output.stderr)")
    }

    @Test(arguments: ["in-process", "sandbox"], [SIGINT, SIGTERM, SIGHUP])
    func whatIsStillBeingLoadedEndsAtASignal(_ isolation: String, _ signal: Int32) async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        let mark = folder.path("marks/begun")
        try """
        import time
        open("\(mark)", "w").close()
        while True: time.sleep(0.01)
        """.write(toFile: file, atomically: true, encoding: .utf8)
        try FileManager.default.createDirectory(atPath: folder.path("marks"), withIntermediateDirectories: false)
        chmod(folder.path("marks"), 0o777)
        chmod(folder.path, 0o755)
        try "[agent]\nisolation = \(isolation)\n[sandbox]\nmode = prefer\nwrite_paths = marks\n"
            .write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        let output = try await AgentProcess.run(["plugin", "call", file, "wait"], directory: folder.path) { process in
            try await eventually("it has begun") { access(mark, F_OK) == 0 }
            kill(process, signal)
        }
        #expect(output.status == 128 + signal, "\(output.stderr)")
    }

    // nohup(1): what was started to outlive its terminal does.
    @Test func anIgnoredHangUpStaysIgnored() async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        try """
        import os, signal
        class Plugin:
            def wait(self):
                os.kill(os.getpid(), signal.SIGHUP)
                return "went on"
        """.write(toFile: file, atomically: true, encoding: .utf8)
        let output = try await AgentProcess.run(
            [], directory: folder.path,
            command: [
                "/bin/sh", "-c", #"trap '' HUP; exec "$0" plugin call "$1" wait"#, AgentProcess.executable, file,
            ])
        #expect(output.status == 0 && output.stdout == "went on\n", "\(output)")
    }

    @Test(arguments: ["in-process", "sandbox"]) func aCallIsShownWhileItRuns(_ isolation: String) async throws {
        let folder = try TemporaryFolder()
        let file = folder.path("p.py")
        chmod(folder.path, 0o755)
        try "[agent]\nisolation = \(isolation)\n[sandbox]\nmode = prefer\n"
            .write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        try """
        import time
        print("while loading")
        class Plugin:
            def wait(self):
                print("printed")
                while True: time.sleep(0.01)
        """.write(toFile: file, atomically: true, encoding: .utf8)
        let shown = folder.path("shown")
        let output = try await AgentProcess.run(
            [], directory: folder.path,
            command: [
                "/bin/sh", "-c", #"exec "$0" plugin call "$1" wait >shown"#, AgentProcess.executable, file,
            ]
        ) { process in
            try await eventually("all of it is shown") {
                (try? String(contentsOfFile: shown, encoding: .utf8)) == "while loading\nprinted\n"
            }
            kill(process, SIGINT)
        }
        #expect(output.status == 130, "\(output.stderr)")
        #expect(try String(contentsOfFile: shown, encoding: .utf8) == "while loading\nprinted\n")
    }

    // MARK: The store

    @Test func storedPluginsAreListedShownAndVerified() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        try """
        [agent]
        server_url = \(backend.server.url)
        auth = False
        """.write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)

        var output = try await AgentProcess.run(["run", "--once", "--log-format", "json"], directory: folder.path)
        #expect(output.status == 0, "\(output.stderr)")
        #expect(output.stdout.isEmpty)
        for line in output.stderr.split(separator: "\n") {
            _ = try JSONSerialization.jsonObject(with: Data(line.utf8))
        }
        #expect(try backend.results(of: "good").map(\.data) == ["hello"])

        output = try await AgentProcess.run(["plugin", "list", "--json"], directory: folder.path)
        #expect(try output.jsonLines().map { $0["state"] as? String } == ["verified"])
        output = try await AgentProcess.run(["plugin", "show", "good-plugin"], directory: folder.path)
        #expect(output.stdout.contains("good-plugin.hello") && output.stdout.contains("verified"))
        output = try await AgentProcess.run(["command", "list", "--json"], directory: folder.path)
        #expect(try output.jsonLines().map { $0["function"] as? String } == ["hello"])
        output = try await AgentProcess.run(["plugin", "call", "good-plugin", "hello"], directory: folder.path)
        #expect(output.stdout == "hello\n")
        output = try await AgentProcess.run(["plugin", "verify"], directory: folder.path)
        #expect(output.status == 0)

        try "class Plugin: pass".write(
            toFile: folder.path("plugins/good-plugin.py"), atomically: true, encoding: .utf8)
        output = try await AgentProcess.run(["plugin", "verify", "--json"], directory: folder.path)
        #expect(output.status == 1)
        #expect(try output.jsonLines().map { $0["verified"] as? Bool } == [false])
        output = try await AgentProcess.run(["plugin", "call", "good-plugin", "hello"], directory: folder.path)
        #expect(output.status == 1)
    }

    @Test func aScriptWithoutADocumentIsNotCalledVerified() async throws {
        let folder = try TemporaryFolder()
        try "class Plugin: pass".write(toFile: folder.path("p.py"), atomically: true, encoding: .utf8)
        let hash = SHA512.hash("class Plugin: pass".utf8).hex
        let text = try await AgentProcess.run(["plugin", "verify", "./p.py"], directory: folder.path)
        #expect(text.status == 1)
        #expect(text.stdout.contains("no document to compare with") && text.stdout.contains(hash), "\(text.stdout)")
        #expect(!text.stdout.contains("matches"))
        let json = try await AgentProcess.run(["plugin", "verify", "./p.py", "--json"], directory: folder.path)
        #expect(json.status == 1)
        let row = try #require(try json.jsonLines().first)
        #expect(row["verified"] as? Bool == false)
        #expect(row["sha512"] as? String == hash)
        #expect(row["code"] as? String == "plugin.no_document")
    }

    @Test func aReleaseIsJSONToo() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        _ = try await AgentProcess.run(
            ["run", "--once", "--set", "auth=no", "--set", "server_url=\(backend.server.url)"], directory: folder.path)
        let output = try await AgentProcess.run(["plugin", "release", "good-plugin", "--json"], directory: folder.path)
        #expect(output.stdout == #"{"plugin":"good-plugin","released":false}"# + "\n", "\(output.stderr)")
    }

    @Test func onceFailsWhereARunFailed() async throws {
        let backend = try ScriptedBackend()
        backend.addTask(#"{"id": "bad", "command": "nobody.knows", "cron": null, "arguments": "{}"}"#)
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(
            ["run", "--once", "--set", "auth=no"], environment: ["RUNBOOK_AGENT_SERVER_URL": backend.server.url],
            directory: folder.path)
        #expect(output.status == 1)
        #expect(output.stderr.contains("task.unknown_command"))
        #expect(try backend.results(of: "good").count == 1)
    }

    // It was broken off at the signal and sent once more; a backend of part 1 may not know that it is the same.
    @Test func whatIsOnItsWayAtASignalIsSentOnce() async throws {
        let backend = try ScriptedBackend()
        backend.server.route("/api/agent/task/good") { _ in
            Thread.sleep(forTimeInterval: 0.3)
            return .json("{}", status: 201)
        }
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(
            ["run", "--set", "server_url=\(backend.server.url)", "--set", "auth=no"], directory: folder.path
        ) { process in
            await backend.server.request(to: "/api/agent/task/good")
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(try backend.results(of: "good").count == 1)
    }

    @Test func theDaemonEndsAtASignalWithItsResultsDelivered() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(
            ["run", "--set", "server_url=\(backend.server.url)", "--set", "auth=no"], directory: folder.path
        ) { process in
            // Agent, plugin, tasks, result.
            await backend.server.waitForRequests(4)
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
        #expect(
            try backend.results(of: "good").map(\.data) == ["hello"],
            "\(backend.server.requests.map { "\($0.method) \($0.target)" }) \(output.stderr)")
    }
}
