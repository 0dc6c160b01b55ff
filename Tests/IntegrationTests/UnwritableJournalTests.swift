import Agent
import AgentModel
import AgentTestSupport
import Foundation
import GRDB
import RunJournal
import Testing

/// A journal that takes nothing for a while, as on a full disk.
@Suite struct UnwritableJournalTests {
    struct Refusal: Sendable, CustomTestStringConvertible {
        var name: String
        /// What SQLite refuses.
        var change: String
        var command = "good-plugin.hello"
        var status: RunStatus
        var testDescription: String { name }
    }

    @Test(arguments: [
        Refusal(name: "a start", change: "INSERT ON run", status: .succeeded),
        Refusal(name: "a result", change: "UPDATE ON run", status: .succeeded),
        Refusal(name: "a rejection", change: "INSERT ON run", command: "good-plugin.missing", status: .rejected),
    ])
    func whatCanNotBeRecordedIsTriedAgain(_ refusal: Refusal) async throws {
        let backend = try ScriptedBackend()
        backend.addTask(#"{"id": "t", "command": "\#(refusal.command)", "cron": null, "arguments": "{}"}"#)
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: TemporaryFolder())
        var patient = Configuration()
        patient.busyMode = .timeout(60)
        let database = try DatabaseQueue(
            path: agent.folder.path("state/journal.sqlite"), configuration: patient)
        try await database.write { db in
            try db.execute(
                sql: "CREATE TRIGGER full BEFORE \(refusal.change) BEGIN SELECT RAISE(FAIL, 'no room'); END")
        }
        let runtime = agent.runtime
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await runtime.dispatcher.run() }
            await runtime.synchronizer.synchronize()
            await agent.waitForCode("journal.io")
            #expect(try await runtime.journal.reader.counts().pending == 0)
            try await database.write { db in try db.execute(sql: "DROP TRIGGER full") }
            try await eventually("both results are recorded") {
                try await runtime.journal.reader.counts().pending == 2
            }
            group.cancelAll()
        }
        await runtime.reporter.deliverDue()
        await runtime.close()
        #expect(try backend.results(of: "t").map(\.status) == [refusal.status])
        #expect(try backend.results(of: "good").map(\.status) == [.succeeded])
    }

    /// It was forgotten for as long as the list stayed the same.
    @Test func aRejectionThatCouldNotBeWrittenIsMadeUpForBehindAnUnchangedList() async throws {
        let backend = try ScriptedBackend()
        let task = #"{"id": "bad", "command": "good-plugin.hello", "cron": "61 * * * *", "arguments": "{}"}"#
        backend.server.route("/api/agent/tasks") { request in
            if request.header("If-None-Match") == "\"1\"" { return .response(status: 304, headers: [:], body: Data()) }
            return .json(#"{"data": [\#(task)]}"#, headers: ["ETag": "\"1\""])
        }
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: TemporaryFolder())
        let runtime = agent.runtime
        let database = try DatabaseQueue(path: agent.folder.path("state/journal.sqlite"))
        try await database.write { db in
            try db.execute(sql: "CREATE TRIGGER full BEFORE INSERT ON run BEGIN SELECT RAISE(FAIL, 'no room'); END")
        }
        await runtime.synchronizer.synchronize()
        #expect(try await runtime.journal.reader.counts().pending == 0)
        try await database.write { db in try db.execute(sql: "DROP TRIGGER full") }
        for _ in 0..<2 {
            await runtime.synchronizer.synchronize()
            #expect(try await runtime.journal.reader.counts().pending == 1)
        }
        await runtime.close()
    }
}
