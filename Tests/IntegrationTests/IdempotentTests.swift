import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// One-offs that may run again: they do where they were cut off, and otherwise they run once.
@Suite struct IdempotentTests {
    private static func script(_ folder: TemporaryFolder, _ time: String) -> String {
        """
        import ctypes, subprocess, time
        class Plugin:
            def count(self, name):
                with open("\(folder.path)/" + name, "a") as file: file.write("x")
            def slow(self):
                self.count("slow")
                if open("\(folder.path)/slow").read() == "x": subprocess.run(["/bin/sleep", "\(time)"])
                return "done"
            def quick(self):
                self.count("quick")
                return 1
            def crash(self):
                self.count("crash")
                ctypes.string_at(0)
        """
    }

    private struct Host {
        let backend: ScriptedBackend
        let folder: TemporaryFolder
        let time = "3600.\(UInt32.random(in: 100_000_000...999_999_999))"

        init(_ functions: [String], cron: String = "null", section: String = "plugin:twice") throws {
            backend = try ScriptedBackend()
            folder = try TemporaryFolder()
            backend.addPlugin("twice", script: IdempotentTests.script(folder, time), functions: functions)
            for function in functions {
                backend.addTask(
                    #"{"id": "\#(function)", "command": "twice.\#(function)", "cron": \#(cron), "arguments": "{}"}"#)
            }
            try """
            [agent]
            server_url = \(backend.server.url)
            auth = False
            poll_interval = 0.2
            [\(section)]
            idempotent = True
            """.write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        }

        /// How often a method has run.
        func count(_ name: String) -> Int {
            (try? String(contentsOfFile: folder.path(name), encoding: .utf8).count) ?? 0
        }

        func agent(_ arguments: [String], _ body: (pid_t) async throws -> Void = { _ in }) async throws
            -> AgentProcess.Output
        {
            try await AgentProcess.run(arguments, directory: folder.path, body: body)
        }
    }

    @Test func whatWasCutOffRunsAgainAndNothingIsLeftBesideIt() async throws {
        let host = try Host(["slow"])
        let killed = try await host.agent(["run"]) { process in
            try await eventually("it runs") { host.count("slow") == 1 && Self.sleepers(host.time) == 1 }
            kill(process, SIGKILL)
        }
        #expect(killed.status == -SIGKILL && Self.sleepers(host.time) == 1)
        let second = try await host.agent(["run", "--once"])
        #expect(second.stderr.contains("a run of an idempotent plugin was cut off"), "\(second.stderr)")
        #expect(host.count("slow") == 2 && Self.sleepers(host.time) == 0)
        #expect(try host.backend.results(of: "slow").map(\.status) == [.succeeded])
        // Once more, and it is done.
        let third = try await host.agent(["run", "--once"])
        #expect(host.count("slow") == 2 && !third.stderr.contains("cut off"), "\(third.stderr)")
        let history = try await host.agent(["history", "--json"]).jsonLines()
        let own = history.filter { $0["task_id"] as? String == "slow" }
        #expect(own.map { $0["status"] as? String } == ["succeeded"], "\(history)")
    }

    /// The backend lists it on, as one does that has lost the result.
    @Test func whatHasEndedDoesNotRunAgain() async throws {
        let host = try Host(["quick"], section: "plugin-name:*")
        _ = try await host.agent(["run"]) { process in
            try await eventually("it has run") { try host.backend.results(of: "quick").count == 1 }
            try await Task.sleep(for: .milliseconds(800))
            kill(process, SIGTERM)
        }
        _ = try await host.agent(["run", "--once"])
        #expect(host.count("quick") == 1)
    }

    /// A plugin that takes the process down doesn't do so for ever.
    @Test func aCrashEndsInTheQuarantine() async throws {
        let host = try Host(["crash"])
        for _ in 0..<3 { _ = try await host.agent(["run", "--once"]) }
        #expect(host.count("crash") == 3)
        let fourth = try await host.agent(["run", "--once"])
        #expect(host.count("crash") == 3, "\(fourth.stderr)")
        #expect(try host.backend.results(of: "crash").map { $0.error?.code } == ["plugin.quarantined"])
    }

    /// Of a schedule the start is written down as ever.
    @Test func aScheduleIsNotRunAgainForThat() async throws {
        let host = try Host(["slow"], cron: #""* * * * * *""#)
        _ = try await host.agent(["run"]) { process in
            try await eventually("it runs") { host.count("slow") == 1 }
            kill(process, SIGKILL)
        }
        _ = try await host.agent(["run", "--once"])
        #expect(try host.backend.results(of: "slow").first?.status == .interrupted)
    }

    /// How many programs have an argument that no other program of this host has.
    private static func sleepers(_ argument: String) -> Int {
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.count { process in
            guard Int32(process) != nil, let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline")
            else { return false }
            return String(decoding: line, as: UTF8.self).split(separator: "\0").contains(argument[...])
        }
    }
}
