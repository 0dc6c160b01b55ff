import AgentModel
import AgentTestSupport
import Foundation
import Logging
import RunJournal
import Testing

@testable import Agent

@Suite struct HistoryRetentionTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func deliver(_ count: Int, at time: Date, to journal: RunJournal) async throws {
        for number in 0..<count {
            let start = RunStart(taskID: "\(number)", isOneOff: false, command: "p.c", startedAt: time)
            _ = try await journal.started(start)
            try await journal.finished(start.runID, status: .succeeded, result: TaskResult(data: "x"), now: time)
            try await journal.delivered([start.runID], at: time)
        }
    }

    @Test func prunesAtTheStartAndEveryHour() async throws {
        let folder = try TemporaryFolder()
        let clock = ManualClock("2026-11-23T12:00:00Z")
        let (journal, _) = try await RunJournal.open(directory: folder.path("state"))
        try await deliver(1, at: clock.now.addingTimeInterval(-8 * 86_400), to: journal)
        try await deliver(2, at: clock.now.addingTimeInterval(-7 * 86_400 + 1800), to: journal)
        let retention = HistoryRetention(journal: journal, clock: clock, days: 7, limit: 4, logger: Self.logger)
        let running = Task { try await retention.run() }
        await clock.waitForSleeper()
        #expect(try await journal.reader.counts().finished == 2)

        try await deliver(5, at: clock.now, to: journal)
        clock.advance(by: 1800)
        #expect(try await journal.reader.counts().finished == 7)
        clock.advance(by: 1800)
        await clock.waitForSleeper()
        #expect(try await journal.reader.counts().finished == 4)
        running.cancel()
        try await running.value
        await journal.close()
    }
}
