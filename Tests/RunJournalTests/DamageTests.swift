import AgentModel
import Foundation
import GRDB
import Synchronization
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
        #expect(second.damage == nil, "it is said once")
        #expect(again.mayHaveForgotten, "and known until somebody has dealt with it")
        // The last of these was lost with every kind of damage, or is remembered.
        let listed = ["new", "task-0", "task-399"].map { oneOff($0) }
        let known = again.oneOffTasksStarted(among: listed.map(\.taskID))
        try await again.reportForgotten(listed, error: RunError(code: "run.may_have_run", message: "m"), now: noon)
        for run in listed { #expect(try await again.started(oneOff(run.taskID)) == .alreadyRan) }
        let forgotten = try await again.reader.history(limit: 1000).filter { $0.error?.code == "run.may_have_run" }
        #expect(Set(forgotten.map { TaskID($0.taskID) }) == Set(listed.map { TaskID($0.taskID) }).subtracting(known))
        #expect(forgotten.allSatisfy { $0.status == .interrupted })
        #expect(!again.mayHaveForgotten)
        await again.close()
        let third = try await directory.open()
        #expect(!third.mayHaveForgotten)
        await third.close()
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

    /// The damage is said, and the trace of before not believed, although another process had the damaged file moved.
    @Test func aCrashBetweenSettingAsideAndReplacingStillTellsOfTheDamage() async throws {
        var journal = try await directory.open()
        try await journal.run(oneOff("a"))
        _ = try await journal.started(oneOff("ahead"))
        let damage = RecoveryReport.Damage(
            setAside: directory.database + ".damaged-x", problem: "p", recoveredRows: ["run": 2], isComplete: false)
        try await journal.writer.perform { db in try damage.write(db) }
        let log = directory.path + "/copy"
        try FileManager.default.copyItem(atPath: directory.database + "-wal", toPath: log)
        await journal.close()
        try FileManager.default.moveItem(atPath: directory.database, toPath: directory.database + ".recovered")
        // Its log had not been moved yet.
        try? FileManager.default.removeItem(atPath: directory.database + "-wal")
        try FileManager.default.moveItem(atPath: log, toPath: directory.database + "-wal")

        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path)
        #expect(report.damage == damage)
        #expect(report.takenBack.isEmpty)
        #expect(report.interrupted.map(\.taskID) == ["ahead"])
        #expect(journal.mayHaveForgotten)
        #expect(try directory.files(beginningWith: "journal.sqlite.damaged").count == 1, "the stray log is set aside")
        await journal.close()
    }

    @Test func whatIsFoundDamagedWhileItIsOpenIsToldOnce() async throws {
        let journal = try await directory.open()
        for number in 0..<50 { try await journal.run(oneOff("\(number)"), data: String(repeating: "x", count: 2000)) }
        try await journal.writer.pool.writeWithoutTransaction { db in _ = try db.checkpoint(.truncate) }
        let losses = Mutex<[String]>([])
        journal.setOnLoss { error in losses.withLock { $0.append(error.code) } }
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: directory.database))
        let size = try file.seekToEnd()
        try file.seek(toOffset: 4096)
        try file.write(contentsOf: Data(repeating: 0xA5, count: Int(size) - 4096))
        try file.close()
        // What another process writes has SQLite read its pages anew.
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        let other = try DatabaseQueue(path: directory.database, configuration: configuration)
        try await other.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA user_version = 7") }
        for number in 0..<2 {
            let error = await #expect(throws: RunJournalError.self) {
                _ = try await journal.started(oneOff("new-\(number)"))
            }
            #expect(error?.code == "journal.corrupt")
        }
        #expect(losses.withLock { $0 } == ["journal.corrupt"])
        try other.close()
        await journal.close()
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
