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
}
