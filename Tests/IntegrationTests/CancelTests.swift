import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import Testing

/// Cancels on their way from a person to a run and back, with a real agent.
@Suite(.serialized) struct CancelTests {
    private static let script = """
        import time
        class Plugin:
            def wait(self):
                print("begun", flush=True)
                while True: time.sleep(0.02)
            def sleep_a_bit(self): time.sleep(2)
            def fast(self): return 1
        """

    @Test(arguments: ["in-process", "sandbox"])
    func aRunIsStoppedWithWhoAndWhy(_ isolation: String) async throws {
        try await withAgent(isolation: isolation) { host in
            try await host.create("long", "wait")
            try await host.isRunning("long")
            try await host.service.cancelTask("long", by: "ada", reason: "wrong host")
            let run = try await host.hasRun("long")
            #expect(run.result.status == .cancelled, "\(run.result)")
            #expect(run.result.error?.code == "run.cancelled")
            #expect(run.result.error?.message.contains("by ada (wrong host)") == true, "\(run.result)")
            #expect(run.result.stdout?.hasPrefix("begun") == true)
            // It is listed no more, and the next task runs.
            try await host.create("next", "fast")
            #expect(try await host.hasRun("next").result.status == .succeeded)
            #expect(try await host.service.runsInProgress().isEmpty)
        }
    }

    @Test func aRunIsCancelledByItsOwnID() async throws {
        try await withAgent { host in
            try await host.create("long", "wait")
            let run = try await host.isRunning("long")
            try await host.service.cancelRun(run.runID, by: nil, reason: nil)
            let stored = try await host.hasRun("long")
            #expect(stored.result.status == .cancelled)
            #expect(stored.result.runID == run.runID)
            await #expect(throws: ReferenceBackendError.notFound(.run, id: run.runID)) {
                try await host.service.cancelRun(run.runID, by: nil, reason: nil)
            }
        }
    }

    /// Behind a run of the same plugin; the one that runs is not touched.
    @Test func aRunThatWaitsIsTakenBackAtOnce() async throws {
        try await withAgent { host in
            try await host.create("long", "wait")
            try await host.isRunning("long")
            try await host.create("behind", "wait")
            try await host.service.cancelTask("behind", by: "ada", reason: nil)
            let run = try await host.hasRun("behind")
            #expect(run.result.status == .cancelled)
            #expect(run.result.error?.message == "the run was cancelled by ada before it had begun")
            #expect(run.result.stdout == "")
            #expect(try await host.service.runsInProgress().map(\.taskID) == ["long"])
        }
    }

    @Test func aTaskThatIsCancelledBeforeTheAgentHearsOfItDoesNotBegin() async throws {
        let backend = try await LiveBackend.start()
        let plugin = try await backend.addPlugin(script: Self.script, functions: ["wait": "wait", "fast": "fast"])
        try await backend.addTask(id: "never", command: "\(plugin.id).wait")
        try await backend.service.cancelTask("never", by: nil, reason: nil)
        try await backend.addTask(id: "fine", command: "\(plugin.id).fast")
        try await runAgent(backend) { _ in
            let host = Host(backend: backend, plugin: plugin.id)
            let (never, fine) = (try await host.hasRun("never"), try await host.hasRun("fine"))
            #expect(never.result.status == .cancelled && fine.result.status == .succeeded)
        }
        await backend.stop()
    }

    @Test func aCancelThatIsThereAfterARestartOfTheAgentIsObeyed() async throws {
        let backend = try await LiveBackend.start()
        let plugin = try await backend.addPlugin(script: Self.script, functions: ["wait": "wait"])
        let host = Host(backend: backend, plugin: plugin.id)
        let folder = try TemporaryFolder()
        // It is killed with one run under way and one behind it.
        let first = try await AgentProcess.run(arguments(backend.url, folder)) { process in
            try await host.create("long", "wait")
            try await host.isRunning("long")
            try await host.create("behind", "wait")
            try await Task.sleep(for: .milliseconds(300))
            kill(process, SIGKILL)
        }
        #expect(first.status != 0)
        try await backend.service.cancelTask("behind", by: nil, reason: nil)
        try await runAgent(backend, folder) { _ in
            let (behind, long) = (try await host.hasRun("behind"), try await host.hasRun("long"))
            #expect(behind.result.status == .cancelled && long.result.status == .interrupted)
        }
        await backend.stop()
    }

    @Test func aCancelThatComesTooLateChangesNothing() async throws {
        try await withAgent { host in
            try await host.create("done", "fast")
            #expect(try await host.hasRun("done").result.status == .succeeded)
            await #expect(throws: ReferenceBackendError.hasEnded(task: "done")) {
                try await host.service.cancelTask("done", by: nil, reason: nil)
            }
        }
    }

    /// Of a run that the agent has forgotten the backend hears so, and asks no more.
    @Test func aRunThatTheAgentDoesNotKnowIsSaidToBeUnknown() async throws {
        try await withAgent { host in
            try await host.create("task", "fast")
            _ = try await host.hasRun("task")
            try await host.service.note(
                RunProgress(status: .running, taskID: "task", startedAt: Date()), ofRun: "01a0-never",
                from: host.agent())
            try await host.service.cancelRun("01a0-never", by: nil, reason: nil)
            try await eventually("it is forgotten") { try await host.service.runsInProgress().isEmpty }
        }
    }

    // MARK: What they need

    struct Host: Sendable {
        let backend: LiveBackend
        let plugin: String
        var service: BackendService { backend.service }

        func agent() async throws -> String { try await backend.localAgentID() }

        func create(_ id: String, _ function: String) async throws {
            try await backend.addTask(id: id, command: "\(plugin).\(function)")
        }

        func hasRun(_ task: String) async throws -> StoredRun {
            let runs = try await backend.waitForRuns(ofTask: task)
            #expect(runs.count == 1)
            return runs[0]
        }

        /// An agent tells of runs that take more than a second.
        @discardableResult
        func isRunning(_ task: String) async throws -> RunInProgress {
            var found: RunInProgress?
            try await eventually("\(task) is under way") {
                found = try await service.runsInProgress().first { $0.taskID == task }
                return found != nil
            }
            return try #require(found)
        }
    }

    private func withAgent(isolation: String = "in-process", _ body: (Host) async throws -> Void) async throws {
        let backend = try await LiveBackend.start()
        let plugin = try await backend.addPlugin(
            script: Self.script, functions: ["wait": "wait", "fast": "fast", "sleep_a_bit": "sleep_a_bit"])
        try await runAgent(backend, isolation: isolation) { _ in
            try await body(Host(backend: backend, plugin: plugin.id))
        }
        await backend.stop()
    }

    private func arguments(_ url: String, _ folder: TemporaryFolder, isolation: String = "in-process") -> [String] {
        [
            "run", "--set", "server_url=\(url)", "--set", "auth=False", "--set", "poll_interval=3600", "--set",
            "isolation=\(isolation)", "--set", "shutdown_grace=0", "--set",
            "plugin_directory=\(folder.path("plugins"))", "--set", "state_directory=\(folder.path("state"))",
        ]
    }

    private func runAgent(
        _ backend: LiveBackend, _ folder: TemporaryFolder? = nil, isolation: String = "in-process",
        _ body: (pid_t) async throws -> Void
    ) async throws {
        let folder = try folder ?? TemporaryFolder()
        let output = try await AgentProcess.run(arguments(backend.url, folder, isolation: isolation)) { process in
            try await eventually("it waits") { backend.service.waitingAgents == 1 }
            do {
                try await body(process)
            } catch {
                kill(process, SIGKILL)
                throw error
            }
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
    }
}
