import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Testing

@testable import ReferenceBackend

/// Watches, cancels and runs in progress (part 2 of the contract), as agents and people see them over HTTP.
@Suite struct RunsInProgressTests {
    private static let path = "/api/agent/tasks"

    @Test func whatIsWantedOfRunsIsListedBesideTheTasks() async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            let before = try await client.get(Self.path)
            #expect(before.json["watch"] == .null && before.json["cancel"] == .null)
            _ = try await client.administer(.post, "/tasks/one/cancel", json: ["by": "ada", "reason": "x"])
            backend.service.watchTask("one", of: QuickstartSeed.agentID)
            let after = try await client.get(Self.path)
            #expect(after.json["watch"] == ["one"])
            #expect(after.json["cancel"] == [["task_id": "one", "by": "ada", "reason": "x"]])
            #expect(after.json["data"] == before.json["data"])
        }
    }

    /// Whoever waits isn't sent the list again.
    @Test func aWaitIsEndedWithoutTheListWhereItIsAsItWas() async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            let tag = try #require(try await client.get(Self.path).response.header("ETag"))
            let headers = ["If-None-Match": tag, "Prefer": "wait=60"]
            async let answer = client.get(Self.path, headers: headers)
            try await eventually("it waits") { backend.service.waitingAgents == 1 }
            _ = try await client.administer(.post, "/tasks/one/cancel", json: [:])
            let held = try await answer
            #expect(held.status == 200 && held.json["unchanged"] == true && held.json["data"] == .null)
            #expect(held.json["cancel"] == [["task_id": "one"]])
            // Its tag holds for both halves; one of part 1 gets the whole list.
            let known = try #require(held.response.header("ETag"))
            #expect(try await client.get(Self.path, headers: ["If-None-Match": known]).status == 304)
            let whole = try await client.get(Self.path, headers: ["If-None-Match": tag])
            #expect(whole.status == 200 && whole.json["data"] != .null)
        }
    }

    @Test func piecesAreKeptOnceAndWithoutGaps() async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            let agent = QuickstartSeed.agentID
            backend.service.watchTask("one", of: agent)
            func post(_ chunks: JSONValue) async throws -> TestClient.Answer {
                try await client.send(
                    .post, "/api/agent/run/r1/output", json: ["task_id": "one", "chunks": chunks],
                    headers: ["Content-Type": "application/json"])
            }
            _ = try await post([["stream": "stdout", "offset": 0, "text": "abc"]])
            // Again, overlapping, and one that lies behind a gap.
            _ = try await post([["stream": "stdout", "offset": 1, "text": "bcd"]])
            let gap = try await post([["stream": "stdout", "offset": 9, "base64": "/w=="]])
            #expect(gap.data["next"] == ["stdout": 4, "stderr": 0])
            let view = try await client.administer(.get, "/tasks/one/run?stdout=2")
            #expect(view.data["state"] == "running" && view.data["run_id"] == "r1")
            #expect(view.data["chunks"] == [["stream": "stdout", "offset": 2, "text": "cd"]])
            let negative = try await post([["stream": "stdout", "offset": -1, "text": "x"]])
            #expect(negative.status == 422)
            #expect(try await post([["stream": "other", "offset": 0, "text": "x"]]).status == 422)
        }
    }

    /// An agent need not say of which task a run is that it has told of.
    @Test func aPieceFindsItsTaskByTheRun() async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            backend.service.watchTask("one", of: QuickstartSeed.agentID)
            let piece: JSONValue = ["chunks": [["stream": "stdout", "offset": 0, "text": "abc"]]]
            #expect(try await client.send(.post, "/api/agent/run/r1/output", json: piece).status == 404)
            _ = try await client.send(
                .put, "/api/agent/run/r1", json: ["task_id": "one", "status": "running"])
            #expect(try await client.send(.post, "/api/agent/run/r1/output", json: piece).status == 200)
            let view = try await client.administer(.get, "/tasks/one/run")
            #expect(view.data["chunks"] == [["stream": "stdout", "offset": 0, "text": "abc"]])
        }
    }

    /// The next run of a task begins anew, also at a backend that hasn't had the result of the one before.
    @Test func theOutputOfTwoRunsIsNotMixed() {
        let live = LiveRuns()
        let task = LiveRuns.Key(agentID: "a", id: "t")
        let piece = OutputChunk(stream: .stdout, offset: 0, bytes: Data("abc".utf8))
        #expect(live.add([piece], ofRun: "r1", task: task) == [.stdout: 3])
        #expect(live.add([], ofRun: "r2", task: task) == [:])
        #expect(live.chunks(ofRun: "r1", task: task, beyond: [:]).isEmpty)
        #expect(live.add([piece], ofRun: "r2", task: task) == [.stdout: 3])
        #expect(live.chunks(ofRun: "r2", task: task, beyond: [:]) == [piece])
    }

    /// Also where its run was deleted: nobody would ever take the cancel back.
    @Test func aTaskThatIsDoneIsNotCancelled() async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            let run = try await backend.service.store(
                TaskResult(data: "5", runID: "r1", status: .succeeded), ofTask: "one", from: QuickstartSeed.agentID)
            try await backend.service.deleteRun(run.run.id)
            let answer = try await client.administer(.post, "/tasks/one/cancel", json: [:])
            #expect(answer.status == 409 && answer.errorCode == "task.has_ended")
        }
    }

    @Test func whatNobodyFollowsIsRefused() async throws {
        try await withBackend { backend, client in
            let answer = try await client.send(
                .post, "/api/agent/run/r1/output", json: ["task_id": "one", "chunks": []])
            #expect(answer.status == 404)
        }
    }

    /// A run that was told of and never began stands in the way of nothing once its task has its result.
    @Test func aRunThatNeverBeganHidesNoResult() async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            let agent = QuickstartSeed.agentID
            try await backend.service.note(
                RunProgress(status: .running, taskID: "one", startedAt: Date() - 60), ofRun: "never", from: agent)
            _ = try await backend.service.store(
                TaskResult(data: "5", runID: "real", status: .succeeded, startedAt: Date(), finishedAt: Date()),
                ofTask: "one", from: agent)
            let view = try await client.administer(.get, "/tasks/one/run")
            #expect(view.data["state"] == "ended" && view.data["run"]["data"] == "5")
            #expect(try await backend.service.runsInProgress().isEmpty)
        }
    }

    /// Whatever ids an agent makes up, a task has one run in progress.
    @Test func anAgentCanNotFillTheStorageWithRuns() async throws {
        try await withBackend { backend, _ in
            try await addTask("one", to: backend)
            for number in 0..<50 {
                try await backend.service.note(
                    RunProgress(status: .running, taskID: "one", startedAt: Date()), ofRun: "r\(number)",
                    from: QuickstartSeed.agentID)
            }
            #expect(try await backend.service.runsInProgress().map(\.runID) == ["r49"])
        }
    }

    /// A task that is gone is no reason for the agent to tell of no run any more.
    @Test func aRunOfADeletedTaskIsNoError() async throws {
        try await withBackend { _, client in
            let answer = try await client.send(
                .put, "/api/agent/run/r1", json: ["task_id": "gone", "status": "running"])
            #expect(answer.status == 204)
        }
    }

    @Test(arguments: [
        "stdout=-1", "stdout=x", "state=other", "wait=301", "wait=-1", "wait=nan", "wait=x", "other=1",
    ])
    func aWrongQuestionIsRefused(_ query: String) async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            #expect(try await client.administer(.get, "/tasks/one/run?\(query)").status == 422)
        }
    }

    /// A follower is answered in time also where its wait is over at once, and a server that stops waits for none.
    @Test func aFollowerIsAnsweredWhenItsTimeIsOver() async throws {
        try await withBackend { backend, client in
            try await addTask("one", to: backend)
            for wait in ["0", "0.001", "0.05"] {
                let answer = try await client.administer(.get, "/tasks/one/run?state=waiting&wait=\(wait)")
                #expect(answer.data["state"] == "waiting")
            }
            async let held = client.administer(.get, "/tasks/one/run?state=waiting&wait=300")
            try await Task.sleep(for: .milliseconds(300))
            let start = ContinuousClock.now
            await backend.stop()
            _ = try? await held
            #expect(start.duration(to: .now) < .seconds(60))
        }
    }

    @Test func peopleNameHostsAndCommandsAsTheyCallThem() async throws {
        try await withBackend { backend, client in
            _ = try await backend.service.updateAgent(QuickstartSeed.agentID, AgentChange(name: .set("kitchen")))
            let created = try await client.administer(.post, "/tasks", json: ["agent": "kitchen", "command": "greet"])
            #expect(created.status == 201, "\(created)")
            #expect(created.data["command"].string == "\(QuickstartSeed.pluginID).greet")
            for wrong in [
                ["agent": "cellar", "command": "greet"], ["agent": "kitchen", "command": "greets"],
                ["agent": "kitchen", "agent_id": "x", "command": "greet"],
            ] as [JSONValue] {
                #expect(try await client.administer(.post, "/tasks", json: wrong).status == 422)
            }
        }
    }

    /// What tests that restart a backend stand on: a socket may be held a moment longer than its backend.
    @Test func aLiveBackendWaitsForItsPort() async throws {
        let first = try await LiveBackend.start(port: try ReservedPort.take())
        async let second = LiveBackend.start(port: first.port)
        try await Task.sleep(for: .milliseconds(300))
        await first.stop()
        #expect(try await second.port == first.port)
        await (try second).stop()
    }

    private func withBackend(_ body: (LiveBackend, TestClient) async throws -> Void) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            try await body(backend, try TestClient(backend))
        }
    }

    private func addTask(_ id: String, to backend: LiveBackend) async throws {
        _ = try await backend.service.createTask(
            NewTask(id: id, agentID: QuickstartSeed.agentID, command: "\(QuickstartSeed.pluginID).greet"))
    }
}
