import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import Testing

/// Where does it hang? Asked on the host, from the backend, and told by results.
@Suite(.serialized) struct StackCommandTests {
    private static let script = """
        import time
        class Plugin:
            def wait(self): self.loop()
            def loop(self):
                while True: time.sleep(0.02)
            def hold(self): sum(range(10 ** 13))
            def fast(self): return 1
        """

    @Test(arguments: ["in-process", "sandbox"])
    func whoAsksIsTold(_ isolation: String) async throws {
        try await withAgent(isolation: isolation) { host in
            #expect(try await host.agent("stack").stderr == "no run is under way\n")
            try await host.backend.addTask(id: "long", command: "\(host.plugin).wait")
            let run = try await host.isRunning("long")
            for name in [[], ["long"], [run.runID], [String(run.runID.suffix(8))]] {
                let told = try await host.agent("stack", name)
                #expect(told.status == 0 && told.stdout.hasPrefix("run \(run.runID) of the task long"), "\(told)")
                #expect(told.stdout.contains("in wait\n    def wait(self): self.loop()\n"), "\(told)")
            }
            let json = try await host.agent("stack", ["--json"]).jsonLines()
            #expect(json.count == 1 && json[0]["run_id"] as? String == run.runID)
            let unknown = try await host.agent("stack", ["another"])
            #expect(unknown.status == 1 && unknown.stderr.contains("run.not_running"), "\(unknown)")
            // Twice, and by either id: each question has its own answer.
            for id in ["long", run.runID, "long"] {
                let told = try await host.runbook("stack", id)
                #expect(told.status == 0 && told.stdout.contains("in loop\n"), "\(told)")
            }
            #expect(try await host.runbook("stack", "another").stderr.contains("run.not_found"))
            // The run went on all the while.
            #expect(try await host.backend.service.runsInProgress().map(\.runID) == [run.runID])

            try await host.backend.service.cancelTask("long", by: nil, reason: nil)
            let ended = try await host.backend.waitForRuns(ofTask: "long")[0]
            #expect(ended.result.status == .cancelled)
            #expect(ended.result.pythonStack?.contains("in loop\n") == true, "\(ended.result)")
            let shown = try await host.agent("history", ["show", run.runID])
            #expect(shown.stdout.contains("stack before it was stopped"), "\(shown)")
            #expect(shown.stdout.contains("in loop"), "\(shown)")
            #expect(try await host.runbook("runs", "show", ended.id).stdout.contains("in loop"))
            #expect(try await host.runbook("stack", "long").stderr.contains("run.not_found"))
        }
    }

    /// Also while a plugin keeps the agent's interpreter from everybody.
    @Test func itIsToldWhileTheInterpreterIsHeld() async throws {
        try await withAgent { host in
            try await host.backend.addTask(id: "held", command: "\(host.plugin).hold")
            _ = try await host.isRunning("held")
            let told = try await host.agent("stack", ["held"])
            #expect(told.stdout.contains("in hold\n"), "\(told)")
            #expect(try await host.runbook("stack", "held").stdout.contains("in hold\n"))
        }
    }

    @Test func whoCannotBeAskedIsNamed() async throws {
        let folder = try TemporaryFolder()
        let arguments = ["--set", "state_directory=\(folder.path("state"))"]
        let none = try await AgentProcess.run(["stack"] + arguments)
        #expect(none.status == 1 && none.stderr.contains("control.unreachable"), "\(none)")
        let backend = try await LiveBackend.start()
        let away = try await backend.service.registerAgent(id: "attic-1", name: "attic")
        let plugin = try await backend.addPlugin(script: Self.script, functions: ["wait": "wait"])
        _ = try await backend.service.assign(plugin.id, to: away.id)
        let task = try await backend.service.createTask(
            NewTask(id: "late", agentID: away.id, command: "\(plugin.id).wait"))
        await #expect(throws: ReferenceBackendError.noAnswer(agentID: away.id)) {
            try await backend.service.stack(ofTask: task.document.id, atMost: .milliseconds(100))
        }
        await #expect(throws: ReferenceBackendError.notFound(.run, id: "another")) {
            try await backend.service.stack(ofRun: "another", atMost: .milliseconds(100))
        }
        // No more than some wait for one agent; and nobody does when the backend stops.
        await withTaskGroup(of: ReferenceBackendError?.self) { group in
            for _ in 0..<21 {
                group.addTask {
                    do {
                        _ = try await backend.service.stack(ofTask: task.document.id, atMost: .seconds(60))
                        return nil
                    } catch {
                        return error as? ReferenceBackendError
                    }
                }
            }
            let first = await group.next() ?? nil
            #expect(first == .busy(retryAfter: 5))
            let start = ContinuousClock.now
            await backend.stop()
            var unanswered = 0
            for await error in group where error == .noAnswer(agentID: away.id) { unanswered += 1 }
            #expect(unanswered == 20)
            #expect(start.duration(to: .now) < .seconds(30))
        }
    }

    // MARK: What they need

    private struct Host {
        let backend: LiveBackend
        let plugin: String
        let folder: TemporaryFolder

        func agent(_ command: String, _ arguments: [String] = []) async throws -> AgentProcess.Output {
            try await AgentProcess.run([command] + arguments + ["--set", "state_directory=\(folder.path("state"))"])
        }

        func runbook(_ arguments: String...) async throws -> AgentProcess.Output {
            try await AgentProcess.run(
                [], environment: ["RUNBOOK_URL": backend.url, "RUNBOOK_TOKEN": backend.administrationToken],
                command: [AgentProcess.built("runbook")] + arguments)
        }

        func isRunning(_ task: String) async throws -> RunInProgress {
            var found: RunInProgress?
            try await eventually("\(task) is under way") {
                found = try await backend.service.runsInProgress().first { $0.taskID == task }
                return found != nil
            }
            return try #require(found)
        }
    }

    private func withAgent(isolation: String = "in-process", _ body: (Host) async throws -> Void) async throws {
        let backend = try await LiveBackend.start()
        let plugin = try await backend.addPlugin(
            script: Self.script, functions: ["wait": "wait", "fast": "fast", "hold": "hold"])
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run([
            "run", "--set", "server_url=\(backend.url)", "--set", "auth=False", "--set", "poll_interval=3600", "--set",
            "isolation=\(isolation)", "--set", "shutdown_grace=0", "--set",
            "plugin_directory=\(folder.path("plugins"))", "--set", "state_directory=\(folder.path("state"))",
        ]) { process in
            try await eventually("it waits") { backend.service.waitingAgents == 1 }
            defer { kill(process, SIGKILL) }
            // Nobody else's to ask.
            let attributes = try FileManager.default.attributesOfItem(atPath: folder.path("state/control.sock"))
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            try await body(Host(backend: backend, plugin: plugin.id, folder: folder))
        }
        #expect(output.status != 0)
        await backend.stop()
    }
}
