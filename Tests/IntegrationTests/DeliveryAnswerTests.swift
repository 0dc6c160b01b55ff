import Agent
import AgentModel
import AgentTestSupport
import Diagnostics
import Foundation
import RunJournal
import Testing

/// What the backend says to a result, and what becomes of the result.
@Suite struct DeliveryAnswerTests {
    struct Answer: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var answer: ScriptedServer.Answer
        var state: OutboxEntry.State = .pending
        var countsAttempt = true
        /// What the outbox says of it.
        var reason: String
    }

    static let answers = [
        Answer(
            testDescription: "404", answer: .json("{}", status: 404), state: .deadLetter, reason: "backend.status"),
        Answer(
            testDescription: "410", answer: .json("{}", status: 410), state: .deadLetter, reason: "backend.status"),
        Answer(
            testDescription: "422", answer: .json("{}", status: 422), state: .deadLetter, reason: "backend.status"),
        Answer(
            testDescription: "413, which no cut helps against", answer: .json("{}", status: 413), state: .deadLetter,
            reason: "backend.status"),
        Answer(testDescription: "500", answer: .json("{}", status: 500), reason: "backend.status"),
        Answer(
            testDescription: "401", answer: .json("{}", status: 401), countsAttempt: false,
            reason: "backend."),
        Answer(
            testDescription: "200 with a proxy's page",
            answer: .response(
                status: 200, headers: ["Content-Type": "text/html"], body: Data("<html>Please log in</html>".utf8)),
            reason: "backend."),
        Answer(testDescription: "a closed connection", answer: .close, reason: "http."),
    ]

    @Test(arguments: answers)
    func decidesWhatBecomesOfAResult(_ answer: Answer) async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        backend.server.route("/api/agent/task/good", answer.answer)
        let report = try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        #expect(report.tally.succeeded == 1)
        #expect(report.undelivered == 1)
        let journal = try await RunJournal.openShared(directory: folder.path("state"))
        let entry = try #require(try await journal.reader.outbox().first)
        #expect(entry.state == answer.state)
        #expect((entry.attempts > 0) == answer.countsAttempt)
        #expect(entry.reason?.hasPrefix(answer.reason) == true, "\(entry.reason ?? "")")

        // A person, and a backend that takes it.
        try await journal.retryDeadLetters()
        await journal.close()
        backend.server.route("/api/agent/task/good", .json("{}", status: 201))
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, clock: ManualClock("2099-01-01T00:00:00Z"))
        #expect(try await agent.runtime.runOnce().undelivered == 0)
        await agent.runtime.close()
        let results = try backend.results(of: "good")
        #expect(Set(results.map(\.runID)).count == 1, "it ran once")
        #expect(results.last?.data == "hello")
    }

    @Test func aResultThatIsTooLargeIsSentAgainCutAndMarked() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin(
            "large", script: "class Plugin:\n    def large(self): return 'x' * 700_000\n", functions: ["large"])
        backend.addTask(#"{"id": "t", "command": "large.large", "cron": null, "arguments": "{}"}"#)
        backend.server.route("/api/agent/task/t", .json("{}", status: 413), .json("{}", status: 201))
        let report = try await TestAgent.once(serverURL: backend.server.url, folder: TemporaryFolder()).report
        #expect(report.undelivered == 0)
        let results = try backend.results(of: "t")
        #expect(results.map(\.data?.utf8.count).first == 700_000)
        #expect(results.last?.data?.hasPrefix("xxx") == true)
        #expect(results.last?.data?.contains("cut from 700000 bytes") == true)
    }

    /// What many texts of no great length make together.
    @Test func aResultOfTextsThatAreNotLongIsCutFurther() async throws {
        let backend = try ScriptedBackend()
        backend.addPlugin(
            "large", script: "class Plugin:\n    def large(self): return 'x' * 40_000\n", functions: ["large"])
        backend.addTask(#"{"id": "t", "command": "large.large", "cron": null, "arguments": "{}"}"#)
        backend.server.route("/api/agent/task/t") { request in
            .json("{}", status: request.body.count > 10_000 ? 413 : 201)
        }
        let report = try await TestAgent.once(serverURL: backend.server.url, folder: TemporaryFolder()).report
        #expect(report.undelivered == 0)
        let lengths = try backend.results(of: "t").compactMap { $0.data?.prefix { $0 == "x" }.count }
        #expect(lengths == [40_000, 16 << 10, 4 << 10])
    }

    struct MissedRuns: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var runs: Int
    }

    /// The configuration's own key, over two lives of the agent with two fire times between them.
    @Test(arguments: [MissedRuns(testDescription: "skip", runs: 0), MissedRuns(testDescription: "once", runs: 1)])
    func missedFireTimesAreAsTheConfigurationSays(_ missed: MissedRuns) async throws {
        let backend = try ScriptedBackend()
        backend.addTask(#"{"id": "hourly", "command": "good-plugin.hello", "cron": "0 * * * *", "arguments": "{}"}"#)
        let folder = try TemporaryFolder()
        for time in ["2026-11-24T10:30:00Z", "2026-11-24T12:30:00Z"] {
            let agent = try await TestAgent.start(
                serverURL: backend.server.url, folder: folder, settings: ["missed_runs": missed.testDescription],
                clock: ManualClock(time), missedRuns: nil)
            _ = try await agent.runtime.runOnce()
            await agent.runtime.close()
        }
        #expect(try backend.results(of: "hourly").count == missed.runs)
    }

    /// A clock that once showed 2099 must not silence a schedule, also in the lives after it.
    @Test func aScheduleThatFiredInAYearToComeGoesOn() async throws {
        let backend = try ScriptedBackend()
        backend.addTask(#"{"id": "hourly", "command": "good-plugin.hello", "cron": "0 * * * *", "arguments": "{}"}"#)
        let folder = try TemporaryFolder()
        var codes: [Set<String>] = []
        for time in ["2099-11-24T10:30:00Z", "2026-11-24T10:30:00Z", "2026-11-24T11:30:00Z"] {
            let agent = try await TestAgent.start(
                serverURL: backend.server.url, folder: folder, clock: ManualClock(time), missedRuns: .once)
            _ = try await agent.runtime.runOnce()
            await agent.runtime.close()
            codes.append(agent.loggedCodes)
        }
        #expect(codes.map { $0.contains("schedule.clock_set_back") } == [false, true, false])
        let times = try backend.results(of: "hourly").compactMap(\.scheduledFor)
        #expect(times.map(RFC3339.string(from:)) == ["2026-11-24T11:00:00.000Z"])
    }
}
