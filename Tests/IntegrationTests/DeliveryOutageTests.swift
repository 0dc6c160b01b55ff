import Agent
import AgentModel
import AgentTestSupport
import Diagnostics
import Foundation
import RunJournal
import Testing

/// Many results, and a backend that doesn't take them.
@Suite struct DeliveryOutageTests {
    private static let count = 30

    private func attempts(_ backend: ScriptedBackend) -> Int {
        backend.server.requests.count { $0.method == "POST" }
    }

    /// Runs tasks whose results the backend answers in one way, and returns the journal's view of them.
    private func outbox(answer: ScriptedServer.Answer) async throws -> (ScriptedBackend, TemporaryFolder, TestAgent) {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        for number in 0..<Self.count {
            backend.addTask(
                #"{"id": "t\#(number)", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
        }
        for number in 0..<Self.count { backend.server.route("/api/agent/task/t\(number)", answer) }
        backend.server.route("/api/agent/task/good", answer)
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder, missedRuns: .once)
        return (backend, folder, agent)
    }

    @Test func anOutageIsAskedAboutByOneResultAtATime() async throws {
        // The answer asks for a pause, so that no second attempt comes into the test.
        let (backend, _, agent) = try await outbox(answer: .json("{}", status: 503, headers: ["Retry-After": "3600"]))
        let report = try await agent.runtime.runOnce()
        #expect(report.undelivered == Self.count + 1)
        // Those that were on their way before the first answer.
        #expect(1...4 ~= attempts(backend))
        let entries = try await agent.runtime.journal.reader.outbox()
        #expect(entries.count { $0.attempts == 0 } >= Self.count + 1 - attempts(backend))
        await agent.runtime.close()
    }

    @Test func nothingButErrorsIsAnOutageToo() async throws {
        let (backend, _, agent) = try await outbox(answer: .json("{}", status: 500))
        let report = try await agent.runtime.runOnce()
        #expect(report.undelivered == Self.count + 1)
        // The end of the life asks a few times more, where the pauses are short.
        #expect(1...8 ~= attempts(backend))
        await agent.runtime.close()
    }

    @Test func aResultThatAlwaysFailsHoldsBackNoOther() async throws {
        let (backend, _, agent) = try await outbox(answer: .json("{}", status: 201))
        for poisoned in ["t3", "t7"] { backend.server.route("/api/agent/task/\(poisoned)", .json("{}", status: 500)) }
        #expect(try await agent.runtime.runOnce().undelivered == 2)
        await agent.runtime.close()
    }

    /// One request that was never answered held back all others for as long as `request_timeout`.
    @Test func aHungRequestHoldsBackNoOther() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        for number in 0..<Self.count {
            backend.addTask(
                #"{"id": "t\#(number)", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#)
        }
        // The first one that is sent, and one that fails at first and is due again meanwhile.
        backend.server.route("/api/agent/task/good", .silence)
        backend.server.route("/api/agent/task/t7", .json("{}", status: 500), .json("{}", status: 201))
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, settings: ["request_timeout": "3600"], missedRuns: .once)
        let delivery = Task { try await agent.runtime.runOnce() }
        try await eventually("all but the hung one are delivered") {
            try await agent.runtime.journal.reader.outbox().map(\.taskID) == ["good"]
                && attempts(backend) == Self.count + 2
        }
        delivery.cancel()
        backend.server.stop()
        _ = try? await delivery.value
        await agent.runtime.close()
    }

    @Test func aRefusedLoginCountsNoAttemptAndLosesNothing() async throws {
        let (backend, folder, agent) = try await outbox(answer: .json("{}", status: 401))
        let report = try await agent.runtime.runOnce()
        #expect(report.undelivered == Self.count + 1)
        let entries = try await agent.runtime.journal.reader.outbox()
        #expect(entries.allSatisfy { $0.attempts == 0 && $0.state == .pending })
        await agent.runtime.close()

        for number in 0..<Self.count { backend.server.route("/api/agent/task/t\(number)", .json("{}", status: 201)) }
        backend.server.route("/api/agent/task/good", .json("{}", status: 201))
        let second = try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        #expect(second.undelivered == 0)
    }

    @Test func afterwardsEverythingIsDeliveredOnce() async throws {
        let (backend, _, agent) = try await outbox(answer: .json("{}", status: 201))
        #expect(try await agent.runtime.runOnce().undelivered == 0)
        #expect(attempts(backend) == Self.count + 1)
        await agent.runtime.close()
    }

    @Test func aFullOutboxHoldsBackWhatIsNewAndDropsNothing() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        backend.addPlugin(
            "large", script: "class Plugin:\n    def large(self): return 'x' * 700_000\n", functions: ["large"])
        for number in 0..<4 {
            backend.addTask(#"{"id": "t\#(number)", "command": "large.large", "cron": null, "arguments": "{}"}"#)
            backend.server.route(
                "/api/agent/task/t\(number)", .json("{}", status: 503, headers: ["Retry-After": "3600"]))
        }
        backend.server.route("/api/agent/task/good", .json("{}", status: 503, headers: ["Retry-After": "3600"]))
        let settings = ["outbox_limit": "1 MiB", "workers": "1"]
        let first = try await TestAgent.once(serverURL: backend.server.url, folder: folder, settings: settings)
        #expect(first.codes.contains("journal.outbox_full"), "\(first.codes)")
        // Two of them are over the limit.
        #expect(first.report.tally.succeeded <= 3)
        #expect(first.report.undelivered == first.report.tally.succeeded)

        for task in ["t0", "t1", "t2", "t3", "good"] {
            backend.server.route("/api/agent/task/\(task)", .json("{}", status: 201))
        }
        // A new process would ask at once too; the time that the backend asked for is the results' own.
        let journal = try await RunJournal.openShared(directory: folder.path("state"))
        let waiting = try await journal.reader.outbox().map(\.runID)
        await journal.close()
        #expect(!waiting.isEmpty)
        let clock = ManualClock(RFC3339.string(from: Date().addingTimeInterval(7200)))
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, settings: settings, clock: clock, missedRuns: .once)
        let report = try await agent.runtime.runOnce()
        await agent.runtime.close()
        #expect(report.undelivered == 0)
        for number in 0..<4 {
            let results = try backend.results(of: "t\(number)")
            let texts = results.map { "\(String(describing: $0.status)) \(String(describing: $0.error))" }
            #expect(results.last?.data?.count == 700_000, "\(texts)")
        }
    }
}
