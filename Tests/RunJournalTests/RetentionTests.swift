import Foundation
import GRDB
import Testing

@testable import RunJournal

@Suite struct RetentionTests {
    let directory = JournalDirectory()
    private let day: TimeInterval = 86_400

    @Test func forgetsWhatIsDeliveredAndOld() async throws {
        let journal = try await directory.open()
        let old = try await journal.run(oneOff("old"))
        let recent = try await journal.run(oneOff("recent"))
        let waiting = try await journal.run(oneOff("waiting"))
        let dead = try await journal.run(oneOff("dead"))
        let running = oneOff("running")
        _ = try await journal.started(running)
        try await journal.delivered([old], at: noon)
        try await journal.delivered([recent], at: noon.addingTimeInterval(10 * day))
        try await journal.deadLettered(dead, reason: "404", now: noon)
        #expect(try await journal.prune(now: noon.addingTimeInterval(31 * day)) == 1)
        let kept = try await journal.reader.history().map(\.runID)
        #expect(Set(kept) == [recent, waiting, dead, running.runID])
        // Its result may go, that it ran may not.
        #expect(journal.hasStarted("old"))
        #expect(try await journal.started(oneOff("old")) == .alreadyRan)
        await journal.close()
    }

    @Test func keepsTheNewest() async throws {
        let journal = try await directory.open()
        try await journal.writer.perform { db in
            for number in 0..<1700 {
                try db.execute(
                    sql: """
                        INSERT INTO run (id, task_id, one_off, command, started_at, status, finished_at, settled_at)
                        VALUES (?, 't', 0, 'c', 0, 'succeeded', 0, 0)
                        """, arguments: [RunID(ticks: UInt64(number), random: 0).rawValue])
            }
        }
        #expect(try await journal.prune(now: Date(timeIntervalSince1970: 1), keepingNewest: 100) == 1600)
        let kept = try await journal.reader.history(limit: 1000)
        #expect(kept.count == 100)
        #expect(kept.last?.runID == RunID(ticks: 1600, random: 0))
        #expect(try await journal.prune(now: Date(timeIntervalSince1970: 1), keepingNewest: 100) == 0)
        await journal.close()
    }
}
