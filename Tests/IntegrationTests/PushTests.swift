import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import Synchronization
import Testing

/// How an agent learns what is new: from a backend that holds its request, and from one that doesn't.
@Suite struct PushTests {
    /// With polls an hour apart nothing but a wait can have told the agent.
    private static let rarely = ["--set", "poll_interval=3600"]

    @Test func aTaskRunsWhenItIsCreated() async throws {
        try await withAgent { backend, _ in
            for number in 0..<20 {
                _ = try await backend.service.createTask(task("task-\(number)"))
                try await hasRun("task-\(number)", at: backend)
            }
        }
    }

    /// The command is known before its task is rejected.
    @Test func aPluginAndItsFirstTaskComeInOneChange() async throws {
        try await withAgent { backend, _ in
            for number in 0..<10 {
                let id = "new-\(number)"
                _ = try await backend.service.publish(
                    NewPlugin(
                        id: id, name: id, script: "class Plugin:\n    def hello(self): return 'hello'\n",
                        commands: ["hello": CommandDocument(id: nil, name: nil, function: "hello")]))
                _ = try await backend.service.assign(id, to: Self.agent)
                _ = try await backend.service.createTask(
                    NewTask(id: id, agentID: Self.agent, command: "\(id).hello"))
                let run = try await hasRun(id, at: backend)
                #expect(run.result.status == .succeeded, "\(run.result)")
            }
        }
    }

    @Test func aBackendThatIsRestartedInTheMiddleOfAWaitIsWaitedAtAgain() async throws {
        let first = try await LiveBackend.start(seed: seed, port: try ReservedPort.take())
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(arguments(first.url, folder)) { process in
            try await eventually("it waits") { first.service.waitingAgents == 1 }
            await first.stop()
            let second = try await LiveBackend.start(data: first.folder, port: first.port)
            try await eventually("it waits again") { second.service.waitingAgents == 1 }
            _ = try await second.service.createTask(task("after"))
            try await hasRun("after", at: second)
            kill(process, SIGTERM)
            await second.stop()
        }
        #expect(output.status == 0, "\(output.stderr)")
    }

    /// The wait is no reason to stop late.
    @Test func anAgentThatWaitsStopsAtOnce() async throws {
        try await withAgent { _, process in
            kill(process, SIGTERM)
            try await eventually("it has ended") { kill(process, 0) != 0 }
        }
    }

    @Test func aBackendOfPartOneIsPolledAsConfigured() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(arguments(backend.server.url, folder, poll: "0.5")) { process in
            try await eventually("it has polled") { polls(backend) >= 3 }
            let before = polls(backend)
            let start = ContinuousClock.now
            try await Task.sleep(for: .seconds(3))
            // One each half a second, ±10 %, and fewer on a slow machine.
            let most = Int(start.duration(to: .now) / .milliseconds(450)) + 2
            #expect((1...most).contains(polls(backend) - before))
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
    }

    /// A plugin that can't be had is asked for with each poll, and makes no more of them.
    @Test func aPluginThatCanNotBeHadMakesNoMorePolls() async throws {
        let backend = try ScriptedBackend()
        backend.listPlugin(#""absent""#)
        backend.server.route("/api/agent/plugin/absent", .json("{}", status: 503))
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(arguments(backend.server.url, folder, poll: "1")) { process in
            try await eventually("it has polled") { polls(backend) >= 2 }
            let (before, start) = (polls(backend), ContinuousClock.now)
            try await Task.sleep(for: .seconds(8))
            let most = Int(start.duration(to: .now) / .milliseconds(900)) + 2
            #expect((1...most).contains(polls(backend) - before))
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
    }

    /// A proxy that answers for the backend, a cloned host, a validator that is never the same.
    @Test(arguments: [304, 200])
    func answersAtOnceAreNoBusyLoop(_ status: Int) async throws {
        let backend = try ScriptedBackend()
        let count = Mutex(0)
        backend.server.route("/api/agent/tasks") { _ in
            let number = count.withLock { count in
                count += 1
                return count
            }
            let headers = ["Preference-Applied": "wait=50", "ETag": "\"\(status == 200 ? number : 1)\""]
            return number > 1 && status == 304
                ? .response(status: 304, headers: headers, body: Data())
                : .json(#"{"data": []}"#, headers: headers)
        }
        let folder = try TemporaryFolder()
        let output = try await AgentProcess.run(arguments(backend.server.url, folder)) { process in
            try await Task.sleep(for: .seconds(8))
            #expect(count.withLock { $0 } <= 80)
            #expect(count.withLock { $0 } >= 2)
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
    }

    // MARK: What they need

    private static let agent = "9ab55db0-9bfa-45a6-8280-bb94c6b0fe8d"
    private static let command = "9ab56426-f429-4c4b-9755-40c92449f0be.greet"

    private var seed: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Examples/quickstart")
    }

    private func task(_ id: String) -> NewTask { NewTask(id: id, agentID: Self.agent, command: Self.command) }

    private func polls(_ backend: ScriptedBackend) -> Int {
        backend.server.requests.count { $0.target == "/api/agent/tasks" }
    }

    private func arguments(_ url: String, _ folder: TemporaryFolder, poll: String = "3600") -> [String] {
        [
            "run", "--set", "server_url=\(url)", "--set", "auth=False", "--set", "poll_interval=\(poll)", "--set",
            "plugin_directory=\(folder.path("plugins"))", "--set", "state_directory=\(folder.path("state"))",
        ]
    }

    private func withAgent(_ body: (LiveBackend, pid_t) async throws -> Void) async throws {
        try await LiveBackend.withLiveBackend(seed: seed) { backend in
            let folder = try TemporaryFolder()
            let output = try await AgentProcess.run(arguments(backend.url, folder)) { process in
                try await eventually("it waits") { backend.service.waitingAgents == 1 }
                try await body(backend, process)
                kill(process, SIGTERM)
            }
            #expect(output.status == 0, "\(output.stderr)")
        }
    }

    @discardableResult
    private func hasRun(_ task: String, at backend: LiveBackend) async throws -> StoredRun {
        var runs: [StoredRun] = []
        try await eventually("\(task) has run") {
            runs = try await backend.service.runs(RunFilter(taskID: task)).elements
            return !runs.isEmpty
        }
        #expect(runs.count == 1)
        return runs[0]
    }
}
