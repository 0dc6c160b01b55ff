import AgentModel
import Foundation
import GRDB
import Testing

@testable import RunJournal

@Suite struct OutboxTests {
    let directory = JournalDirectory()

    private func due(_ journal: RunJournal, limit: Int = 100, now: Date = noon) async throws -> [RunID] {
        try await journal.nextDeliveries(limit: limit, now: now).map(\.runID)
    }

    @Test func aTasksResultsGoInOrder() async throws {
        let journal = try await directory.open()
        let first = try await journal.run(scheduled("s"))
        let second = try await journal.run(scheduled("s"))
        let third = try await journal.run(scheduled("s"))
        let other = try await journal.run(scheduled("o"))
        #expect(try await due(journal) == [first, other])
        try await journal.deferred(first, until: noon.addingTimeInterval(60), reason: "503", now: noon)
        #expect(try await due(journal) == [])
        #expect(try await due(journal, now: noon.addingTimeInterval(60)) == [first])
        try await journal.delivered([first])
        #expect(try await due(journal) == [second])
        try await journal.deadLettered(second, reason: "422")
        #expect(try await due(journal) == [third])
        await journal.close()
    }

    @Test func whatIsHandedOutIsNotHandedOutTwice() async throws {
        let journal = try await directory.open()
        for number in 0..<40 { try await journal.run(oneOff("t\(number)")) }
        let taken = try await withThrowingTaskGroup(of: [RunID].self) { group in
            for _ in 0..<10 { group.addTask { try await due(journal, limit: 7) } }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(taken.count == 40)
        #expect(Set(taken).count == 40)
        await journal.close()
        // Nothing was reported on, so that all is due again, under the same run ids.
        let reopened = try await directory.open()
        #expect(Set(try await due(reopened)) == Set(taken))
        await reopened.close()
    }

    @Test func reportingTwiceChangesNothing() async throws {
        let journal = try await directory.open()
        let id = try await journal.run(oneOff("a"))
        let size = journal.outboxBytes
        #expect(size > 0)
        try await journal.run(oneOff("b"))
        #expect(journal.outboxBytes == 2 * size)
        try await journal.delivered([id], at: noon)
        try await journal.delivered([id], at: noon.addingTimeInterval(9))
        try await journal.deferred(id, until: noon, reason: "late")
        try await journal.deadLettered(id, reason: "late")
        #expect(journal.outboxBytes == size)
        #expect(try await journal.reader.run(id)?.delivery == .delivered(at: noon))
        #expect(try await journal.reader.counts().pending == 1)
        await journal.close()
        let reopened = try await directory.open()
        #expect(reopened.outboxBytes == size)
        await reopened.close()
    }

    @Test func attemptsAndReasonsAreKept() async throws {
        let journal = try await directory.open()
        let id = try await journal.run(oneOff("a"))
        #expect(try await journal.nextDeliveryTime() != nil)
        #expect(try await due(journal) == [id])
        #expect(try await journal.nextDeliveryTime() == nil)
        let later = noon.addingTimeInterval(30)
        try await journal.deferred(id, until: later, reason: "connection refused", now: noon)
        #expect(try await journal.nextDeliveryTime() == later)
        #expect(
            try await journal.reader.run(id)?.delivery
                == .pending(attempts: 1, nextAttempt: later, reason: "connection refused"))
        #expect(try await journal.nextDeliveries(limit: 1, now: later).first?.attempts == 1)
        await journal.close()
    }

    @Test func aClockSetBackHoldsNothingUp() async throws {
        let journal = try await directory.open()
        let id = try await journal.run(oneOff("a"))
        #expect(try await due(journal) == [id])
        try await journal.deferred(id, until: noon.addingTimeInterval(300), reason: "503", now: noon)
        #expect(try await due(journal) == [])
        #expect(try await due(journal, now: noon.addingTimeInterval(-7200)) == [id])
        try await journal.deferred(id, until: noon.addingTimeInterval(300), reason: "503", now: noon)
        await journal.close()
        let reopened = try await directory.open(now: noon.addingTimeInterval(-7200))
        #expect(try await due(reopened, now: noon.addingTimeInterval(-7200)) == [id])
        await reopened.close()
    }

    @Test func deadLettersAreSeenRetriedAndDiscarded() async throws {
        let journal = try await directory.open()
        let first = try await journal.run(scheduled("s"))
        let second = try await journal.run(scheduled("s"))
        try await journal.deadLettered(first, reason: "404")
        #expect(try await journal.reader.run(first)?.delivery == .deadLetter(attempts: 1, reason: "404"))
        #expect(try await journal.reader.outbox(.deadLetter).map(\.runID) == [first])
        #expect(try await journal.reader.outbox(.pending).map(\.runID) == [second])
        #expect(try await journal.reader.outbox().count == 2)
        #expect(try await journal.retryDeadLetters([second]) == 0)
        #expect(try await journal.retryDeadLetters() == 1)
        // The older one goes first again.
        #expect(try await due(journal) == [first])
        #expect(try await journal.discard([first], at: noon) == 1)
        #expect(try await journal.discard([first], at: noon) == 0)
        #expect(try await journal.reader.run(first)?.delivery == .discarded(at: noon))
        #expect(try await due(journal) == [second])
        await journal.close()
    }

    @Test func noticesWhatAPersonChangesBesideIt() async throws {
        let journal = try await directory.open()
        let id = try await journal.run(oneOff("a"))
        #expect(try await due(journal) == [id])
        try await journal.deadLettered(id, reason: "422")
        let shared = try await RunJournal.openShared(directory: directory.path)
        #expect(try await shared.discard([id]) == 1)
        await shared.close()
        #expect(try await due(journal) == [])
        #expect(journal.outboxBytes == 0)
        await journal.close()
    }

    @Test func noticesWhatAPersonChangesBeforeTheFirstDelivery() async throws {
        let last = try await directory.open()
        let id = try await last.run(oneOff("a"))
        await last.close()
        let journal = try await directory.open()
        #expect(journal.outboxBytes > 0)
        let shared = try await RunJournal.openShared(directory: directory.path)
        #expect(try await shared.discard([id]) == 1)
        await shared.close()
        #expect(try await due(journal) == [])
        #expect(journal.outboxBytes == 0)
        await journal.close()
    }

    @Test func noticesWhatAPersonChangedAlsoWhereTheFirstLookFailed() async throws {
        let journal = try await directory.open()
        let id = try await journal.run(oneOff("a"))
        #expect(try await due(journal) == [id])
        let shared = try await RunJournal.openShared(directory: directory.path)
        #expect(try await shared.discard([id]) == 1)
        await shared.close()
        journal.writer.pool.add(transactionObserver: FailingCommit(), extent: .nextTransaction)
        await #expect(throws: RunJournalError.self) { try await due(journal) }
        #expect(journal.outboxBytes > 0)
        #expect(try await due(journal) == [])
        #expect(journal.outboxBytes == 0)
        await journal.close()
    }

    @Test func manyWaitingResultsComeInOrder() async throws {
        let journal = try await directory.open()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<2000 { group.addTask { _ = try await journal.run(scheduled("s\(number % 10)")) } }
            try await group.waitForAll()
        }
        var seen: [String: [RunID]] = [:]
        var queued: [String: [RunID]] = [:]
        for entry in try await journal.reader.outbox(limit: 2000) {
            queued[entry.taskID, default: []].append(entry.runID)
        }
        while case let deliveries = try await journal.nextDeliveries(limit: 64, now: noon), !deliveries.isEmpty {
            #expect(Set(deliveries.map(\.taskID)).count == deliveries.count)
            for delivery in deliveries {
                seen[delivery.taskID, default: []].append(delivery.runID)
                try await journal.delivered([delivery.runID])
            }
        }
        #expect(seen == queued)
        #expect(journal.outboxBytes == 0)
        await journal.close()
    }
}

/// Refuses a transaction when it is to be committed, as a full disk does.
private final class FailingCommit: TransactionObserver {
    func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { false }
    func databaseDidChange(with event: DatabaseEvent) {}
    func databaseWillCommit() throws { throw DatabaseError(resultCode: .SQLITE_FULL) }
    func databaseDidCommit(_ db: Database) {}
    func databaseDidRollback(_ db: Database) {}
}
