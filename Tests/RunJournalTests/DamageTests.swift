import AgentModel
import Foundation
import GRDB
import Testing

@testable import RunJournal

/// A way to break a journal's file, and what can be expected of its rows.
struct Damage: Sendable, CustomTestStringConvertible {
    enum Rows: Sendable { case none, some }

    let name: String
    let rows: Rows
    let inflict: @Sendable (_ path: String) throws -> Void

    var testDescription: String { name }

    static let all = [
        Damage(name: "an empty file", rows: .none) { path in try Data().write(to: URL(fileURLWithPath: path)) },
        Damage(name: "a file of something else", rows: .none) { path in
            try Data(repeating: 0x78, count: 40_000).write(to: URL(fileURLWithPath: path))
        },
        Damage(name: "cut within the first page", rows: .none) { path in truncate(path, 1000) },
        Damage(name: "cut in half", rows: .some) { path in
            let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
            truncate(path, size / 2)
        },
        Damage(name: "pages overwritten in the middle", rows: .some) { path in
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            let size = try file.seekToEnd()
            try file.seek(toOffset: size / 2 / 4096 * 4096)
            try file.write(contentsOf: Data(repeating: 0xA5, count: 3 * 4096))
            try file.close()
        },
    ]
}

@Suite struct DamageTests {
    let directory = JournalDirectory()

    @Test(arguments: Damage.all)
    func isSetAsideAndRecovered(_ damage: Damage) async throws {
        var journal = try await directory.open()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<400 {
                group.addTask { [journal] in
                    _ = try await journal.run(oneOff("task-\(number)"), data: String(repeating: "x", count: 500))
                }
            }
            try await group.waitForAll()
        }
        await journal.close()
        try damage.inflict(directory.database)
        let damaged = try Data(contentsOf: URL(fileURLWithPath: directory.database))

        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path, now: noon)
        let found = try #require(report.damage)
        #expect(try Data(contentsOf: URL(fileURLWithPath: found.setAside)) == damaged)
        #expect(!found.isComplete)
        let remembered = journal.oneOffTasksStarted(among: (0..<400).map { "task-\($0)" }).count
        let results = try await journal.reader.counts()
        #expect(results.pending == results.finished)
        if damage.rows == .some {
            #expect(remembered > 0)
            #expect(found.recoveredRows["one_off_task"] != nil)
        } else {
            #expect(remembered == 0)
        }
        // Whatever was read, the journal works, and delivers what it has.
        #expect(try await journal.started(oneOff("new")) == .go)
        #expect(try await journal.nextDeliveries(limit: 1000).count == results.pending)
        await journal.close()
        let (again, second) = try await RunJournal.open(directory: directory.path)
        #expect(second.damage == nil)
        await again.close()
    }

    @Test func aCrashBetweenSettingAsideAndReplacingLosesNothing() async throws {
        let journal = try await directory.open()
        try await journal.run(oneOff("a"))
        await journal.close()
        // The state after the damaged database got its new name and before the recovered one got the old one.
        try FileManager.default.moveItem(atPath: directory.database, toPath: directory.database + ".recovered")
        let (reopened, report) = try await RunJournal.open(directory: directory.path)
        #expect(!report.isNew)
        #expect(reopened.hasStarted("a"))
        await reopened.close()
    }

    @Test func aStrayLogIsNotPlayedIntoANewJournal() async throws {
        let journal = try await directory.open()
        try await journal.run(oneOff("a"))
        try FileManager.default.copyItem(atPath: directory.database + "-wal", toPath: directory.path + "/copy")
        await journal.close()
        for suffix in ["", "-wal"] { try? FileManager.default.removeItem(atPath: directory.database + suffix) }
        try FileManager.default.moveItem(atPath: directory.path + "/copy", toPath: directory.database + "-wal")
        let (reopened, report) = try await RunJournal.open(directory: directory.path)
        #expect(report.isNew)
        #expect(!reopened.hasStarted("a"))
        #expect(try directory.files(beginningWith: "journal.sqlite.damaged").count == 1)
        await reopened.close()
    }

    @Test func aNewerJournalIsRefused() async throws {
        let journal = try await directory.open()
        try await journal.writer.perform { db in try db.execute(sql: "INSERT INTO grdb_migrations VALUES ('99')") }
        await journal.close()
        await #expect(throws: RunJournalError.newer(path: directory.database)) {
            try await RunJournal.open(directory: directory.path)
        }
    }

    @Test func aFullDiskIsSaidAndOvercome() async throws {
        let journal = try await directory.open()
        try await journal.run(oneOff("before"))
        // SQLite's own limit meets the same error as a disk without room.
        try await journal.writer.pool.writeWithoutTransaction { db in
            let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
            try db.execute(sql: "PRAGMA max_page_count = \(pages)")
        }
        let run = oneOff("during")
        let large = String(repeating: "x", count: 200_000)
        _ = try await journal.started(run)
        await #expect(throws: RunJournalError.diskFull(path: directory.database)) {
            try await journal.finished(run.runID, status: .succeeded, result: result(large))
        }
        #expect(try await journal.reader.run(run.runID)?.status == nil)
        let bytes = journal.outboxBytes
        try await journal.writer.pool.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA max_page_count = 1000000")
        }
        #expect(try await journal.finished(run.runID, status: .succeeded, result: result(large)))
        #expect(journal.outboxBytes > bytes)
        await journal.close()
    }

    @Test func oneFailingRequestSparesTheOthersOfItsTransaction() async throws {
        let journal = try await directory.open()
        let twice = scheduled("s")
        _ = try await journal.started(twice)
        // The same run id again breaks a rule of the table.
        let outcomes = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<100 {
                group.addTask {
                    let run = number == 50 ? twice : oneOff("t\(number)")
                    return (try? await journal.started(run)) == .go
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.filter { $0 }.count == 99)
        #expect(try await journal.reader.counts().oneOffTasks == 99)
        await journal.close()
    }

    @Test func aFolderThatCannotBeIsSaid() async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try Data().write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let error = await #expect(throws: RunJournalError.self) {
            try await RunJournal.open(directory: file.path + "/state")
        }
        #expect(error?.code == "journal.io")
    }
}
