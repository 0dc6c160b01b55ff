import Agent
import AgentModel
import AgentTestSupport
import Foundation
import InMemoryLogging
import Logging
import Testing

/// A task that can't run as it is listed: the backend waits for a result of it and goes on listing it.
@Suite struct ListedWronglyTests {
    struct Wrong: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var cron: String
        var code: String
        /// Something else that is wrong with it.
        var other: String
    }

    @Test(arguments: [
        Wrong(testDescription: "a bad schedule", cron: #""61 * * * *""#, code: "task.invalid_cron", other: #""x""#),
        Wrong(testDescription: "a wrong type", cron: "5", code: "task.invalid_document", other: #""61 * * * *""#),
    ])
    func isReportedOnceInTheLifeOfTheJournalAndRunsWhenItIsCorrected(_ wrong: Wrong) async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        func list(cron: String) {
            let task = #"{"id": "bad", "command": "good-plugin.hello", "cron": \#(cron), "arguments": "{}"}"#
            backend.server.route("/api/agent/tasks", .json(#"{"data": [\#(task)]}"#))
        }
        func once() async throws -> AgentRuntime.OnceReport {
            try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        }
        backend.server.route("/api/agent/task/bad", .json("{}", status: 201))

        list(cron: wrong.cron)
        var report = try await once()
        #expect(report.tally.failed == 1)
        #expect(!report.isGood)
        for _ in 0..<2 {
            report = try await once()
            #expect(report.isGood, "it failed when it was reported")
        }
        #expect(try backend.results(of: "bad").map(\.error?.code) == [wrong.code])
        #expect(try backend.results(of: "bad").first?.error?.message.contains("data[") == false)

        list(cron: wrong.other)
        report = try await once()
        #expect(report.tally.failed == 1)
        #expect(try backend.results(of: "bad").count == 2)

        list(cron: "null")
        report = try await once()
        #expect(report.isGood)
        #expect(try backend.results(of: "bad").last?.data == "hello")
        // It has its result.
        list(cron: "5")
        report = try await once()
        #expect(report.isGood)
        #expect(try backend.results(of: "bad").count == 3)
    }

    /// A poll a second must not fill the log.
    @Test func aBackendThatFailsIsToldOfOnceAndAgainWhenItFailsOtherwise() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)
        func warnings() -> [String] {
            agent.log.entries.filter { $0.level == .warning && "\($0.message)".contains("synchronization failed") }
                .map { "\($0.message)" }
        }
        backend.server.route("/api/agent", .json("{}", status: 401))
        for _ in 0..<5 { await agent.runtime.synchronizer.synchronize() }
        #expect(warnings().count == 1)
        backend.server.route("/api/agent", .json("{}", status: 503))
        for _ in 0..<5 { await agent.runtime.synchronizer.synchronize() }
        #expect(warnings().count == 2)
        backend.server.route(
            "/api/agent", .json(#"{"data": {"id": "a", "name": null, "team_id": null, "plugins": []}}"#))
        await agent.runtime.synchronizer.synchronize()
        backend.server.route("/api/agent", .json("{}", status: 503))
        await agent.runtime.synchronizer.synchronize()
        #expect(warnings().count == 3)
        await agent.runtime.close()
    }

    @Test func idsThatOnlyLookTheSameAreTwoTasks() async throws {
        let backend = try ScriptedBackend()
        backend.addTask("{\"id\": \"caf\u{E9}\", \"command\": \"good-plugin.hello\"}")
        backend.addTask("{\"id\": \"cafe\u{301}\", \"command\": \"good-plugin.hello\"}")
        backend.server.routeTheRest { _ in .json("{}", status: 201) }
        let folder = try TemporaryFolder()
        for _ in 0..<2 {
            let (report, codes) = try await TestAgent.once(serverURL: backend.server.url, folder: folder)
            #expect(report.isGood)
            #expect(!codes.contains("task.duplicate_id"))
        }
        let posts = backend.server.requests.filter { $0.method == "POST" }.map(\.target)
        #expect(posts.contains("/api/agent/task/caf%C3%A9") && posts.contains("/api/agent/task/cafe%CC%81"), "\(posts)")
        #expect(posts.count == 3)
    }
}
