import Foundation
import GRDB
import Testing

@testable import RunJournal

@Suite struct SnapshotTests {
    let directory = JournalDirectory()

    @Test func aReaderBesideTheWriterSeesTheLatest() async throws {
        let journal = try await directory.open()
        let reader = try await RunJournal.openReadOnly(directory: directory.path)
        #expect(try await reader.snapshots().isEmpty)
        try await journal.keep(snapshots: ["a": "1", "b": "[2]"], at: noon)
        try await journal.keep(snapshots: ["a": #"{"text":"\u0000"}"#], at: noon.addingTimeInterval(1))
        let expected = [
            "a": JournalSnapshot(json: #"{"text":"\u0000"}"#, writtenAt: noon.addingTimeInterval(1)),
            "b": JournalSnapshot(json: "[2]", writtenAt: noon),
        ]
        #expect(try await reader.snapshots() == expected)
        await journal.close()
        #expect(try await RunJournal.openReadOnly(directory: directory.path).snapshots() == expected)
    }

    @Test func aJournalOfTheFirstSchemaHasNoneAndGetsTheTable() async throws {
        try FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
        let old = try DatabasePool(path: directory.database)
        try Schema.migrator.migrate(old, upTo: "1")
        try old.close()
        #expect(try await RunJournal.openReadOnly(directory: directory.path).snapshots().isEmpty)
        let journal = try await directory.open()
        try await journal.keep(snapshots: ["a": "1"], at: noon)
        #expect(try await journal.reader.snapshots()["a"]?.json == "1")
        await journal.close()
    }

    @Test func aChangeOfAnotherIsNoticedOnceAndOurOwnNever() async throws {
        let journal = try await directory.open()
        #expect(try await !journal.wasChangedByAnother())
        let runID = try await journal.run(oneOff("a"))
        try await journal.deadLettered(runID, reason: "422")
        #expect(try await !journal.wasChangedByAnother())
        let other = try await RunJournal.openShared(directory: directory.path)
        _ = try await other.reader.counts()
        #expect(try await !journal.wasChangedByAnother())
        #expect(try await other.retryDeadLetters() == 1)
        #expect(try await journal.wasChangedByAnother())
        #expect(try await !journal.wasChangedByAnother())
        await other.close()
        await journal.close()
    }

    @Test func aChangeBeforeTheFirstLookIsNoticed() async throws {
        let journal = try await directory.open()
        let other = try await RunJournal.openShared(directory: directory.path)
        try await other.keep(snapshots: ["a": "1"], at: noon)
        await other.close()
        #expect(try await journal.wasChangedByAnother())
        #expect(try await !journal.wasChangedByAnother())
        await journal.close()
    }

    @Test func deliveryStatesLeaveOutWhatIsUnknown() async throws {
        let journal = try await directory.open()
        let pending = try await journal.run(oneOff("pending"))
        let dead = try await journal.run(oneOff("dead"))
        try await journal.deadLettered(dead, reason: "422")
        let running = oneOff("running")
        _ = try await journal.started(running)
        let states = try await journal.reader.deliveryStates(of: [pending, dead, running.runID, RunID()])
        #expect(
            states == [
                pending: .pending(attempts: 0, nextAttempt: nil, reason: nil),
                dead: .deadLetter(attempts: 1, reason: "422"), running.runID: .running,
            ])
        let unfinished = try await journal.reader.history(HistoryFilter(isUnfinished: true))
        #expect(unfinished.map(\.runID) == [running.runID])
        await journal.close()
    }
}
