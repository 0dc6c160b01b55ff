import AgentModel
import Foundation
import GRDB
import Testing

@testable import RunJournal

@Suite struct RunJournalTests {
    let directory = JournalDirectory()

    @Test func keepsARunWithEverything() async throws {
        let journal = try await directory.open()
        let run = RunStart(
            taskID: "t", isOneOff: false, command: "demo.square", pluginID: "demo", function: "square",
            scheduledFor: noon, startedAt: noon.addingTimeInterval(0.25), isolation: "in-process")
        #expect(try await journal.started(run) == .go)
        #expect(try await journal.reader.run(run.runID)?.delivery == .running)
        var sent = result(nil)
        sent.error = RunError(code: "plugin.exception", type: "ValueError", message: "no\u{0}\n", traceback: "at 1")
        #expect(try await journal.finished(run.runID, status: .failed, result: sent))
        await journal.close()

        let reopened = try await directory.open()
        let record = try #require(try await reopened.reader.run(run.runID))
        #expect(record.start == run)
        #expect(record.status == .failed)
        #expect(record.delivery == .pending(attempts: 0, nextAttempt: nil, reason: nil))
        sent.runID = run.runID.rawValue
        sent.status = .failed
        sent.startedAt = run.startedAt
        sent.scheduledFor = noon
        #expect(record.result == sent)
        #expect(try await reopened.nextDeliveries(limit: 10).map(\.result) == [sent])
        await reopened.close()
    }

    @Test func oneOffStartsOnceForGood() async throws {
        var journal = try await directory.open()
        #expect(!journal.hasStarted("a"))
        // Together, so that they share a transaction.
        let decisions = try await withThrowingTaskGroup(of: StartDecision.self) { group in
            for _ in 0..<50 { group.addTask { [journal] in try await journal.begin(oneOff("a")) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(decisions.filter { $0 == .go }.count == 1)
        #expect(journal.hasStarted("a"))
        await journal.close()
        journal = try await directory.open()
        #expect(journal.hasStarted("a"))
        #expect(journal.oneOffTasksStarted(among: ["a", "b"]) == ["a"])
        #expect(try await journal.started(oneOff("a")) == .alreadyRan)
        #expect(try await journal.started(scheduled("a")) == .go)
        await journal.close()
    }

    @Test func rejectedOneOffIsDone() async throws {
        let journal = try await directory.open()
        let rejection = TaskResult(data: nil, error: RunError(code: "task.unknown_command", message: "no such"))
        #expect(try await journal.completed(oneOff("a"), result: rejection) == .go)
        #expect(try await journal.completed(oneOff("a"), result: rejection) == .alreadyRan)
        #expect(try await journal.started(oneOff("a")) == .alreadyRan)
        let deliveries = try await journal.nextDeliveries(limit: 10)
        #expect(deliveries.map(\.result.status) == [.rejected])
        #expect(deliveries.first?.result.error?.code == "task.unknown_command")
        await journal.close()
    }

    // All runs that the task had were read for it.
    @Test func whatWasRejectedBeforeIsFoundByItsIndex() async throws {
        let journal = try await directory.open()
        let plan = try await journal.writer.perform { db in
            try Row.fetchAll(
                db, sql: "EXPLAIN QUERY PLAN " + RunJournal.rejectedBefore, arguments: ["t", "code", Data()]
            ).map { $0["detail"] as String }
        }
        #expect(plan == ["SEARCH run USING INDEX run_rejected (task_id=?)"])
        await journal.close()
    }

    @Test func finishingTwiceChangesNothing() async throws {
        let journal = try await directory.open()
        let id = try await journal.run(oneOff("a"), data: "first")
        #expect(try await !journal.finished(id, status: .failed, result: result("second")))
        #expect(try await journal.reader.run(id)?.result?.data == "first")
        #expect(try await journal.reader.counts().pending == 1)
        let unknown = RunID()
        await #expect(throws: RunJournalError.unknownRun(unknown)) {
            try await journal.finished(unknown, status: .failed, result: result())
        }
        await journal.close()
    }

    @Test func unfinishedRunsBecomeInterrupted() async throws {
        var journal = try await directory.open()
        let cutOff = oneOff("a")
        try await journal.begin(cutOff)
        let done = try await journal.run(oneOff("b"))
        await journal.close()

        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path, now: noon)
        #expect(report.interrupted.map(\.start) == [cutOff])
        #expect(!report.isNew && report.damage == nil)
        let deliveries = try await journal.nextDeliveries(limit: 10)
        #expect(deliveries.map(\.runID) == [done, cutOff.runID])
        #expect(deliveries.last?.result.status == .interrupted)
        #expect(deliveries.last?.result.error?.code == "run.interrupted")
        #expect(deliveries.last?.result.finishedAt == noon)
        await journal.close()
        #expect(try await RunJournal.open(directory: directory.path).1.interrupted.isEmpty)
    }

    @Test func whatHadNotBegunIsTakenBack() async throws {
        var journal = try await directory.open()
        let begun = oneOff("begun")
        let waiting = oneOff("waiting")
        let fire = scheduled("schedule")
        try await journal.begin(begun)
        _ = try await journal.started(waiting)
        _ = try await journal.started(fire)
        await journal.close()

        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path)
        #expect(report.takenBack == [waiting])
        // A fire time has passed and does not come again.
        #expect(report.interrupted.map(\.taskID) == ["begun", "schedule"])
        #expect(journal.oneOffTasksStarted(among: ["begun", "waiting"]) == ["begun"])
        #expect(try await journal.reader.run(waiting.runID) == nil)
        #expect(try await journal.started(oneOff("waiting")) == .go)
        #expect(try await journal.started(oneOff("begun")) == .alreadyRan)
        await journal.close()
    }

    @Test func withoutATraceNothingIsTakenBack() async throws {
        var journal = try await directory.open()
        _ = try await journal.started(oneOff("waiting"))
        await journal.close()
        try FileManager.default.removeItem(atPath: directory.path + "/calls.trace")
        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path)
        #expect(report.takenBack.isEmpty)
        #expect(report.interrupted.map(\.taskID) == ["waiting"])
        #expect(journal.hasStarted("waiting"))
        await journal.close()
    }

    @Test func withoutTheListOfBegunRunsNothingIsTakenBack() async throws {
        var journal = try await directory.open()
        _ = try await journal.started(oneOff("waiting"))
        await journal.close()
        unlink(BegunRuns.path(try #require(journal.trace?.session)))
        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path)
        #expect(report.takenBack.isEmpty)
        // It is not said to have run.
        #expect(report.interrupted.first?.error?.message.contains("which is not known") == true)
        await journal.close()
    }

    /// A disk that is lost and comes back has forgotten what was not synced.
    @Test func whatTheDiskForgetsOfATraceIsNotTakenBack() async throws {
        let path = directory.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            let begun = oneOff("begun")
            _ = try await journal.started(begun)
            _ = try await journal.started(oneOff("waiting"))
            try FileManager.default.copyItem(atPath: path + "/calls.trace", toPath: path + "/synced")
            journal.trace?.enter(run: begun.runID.rawValue, plugin: "p", scriptHash: "h")
            kill(getpid(), SIGKILL)
        }
        try FileManager.default.removeItem(atPath: path + "/calls.trace")
        try FileManager.default.moveItem(atPath: path + "/synced", toPath: path + "/calls.trace")
        let (journal, report) = try await RunJournal.open(directory: path)
        #expect(report.interrupted.map(\.taskID) == ["begun"])
        #expect(report.interrupted.first?.error?.message.contains("was running") == true)
        #expect(report.takenBack.map(\.taskID) == ["waiting"])
        await journal.close()
    }

    /// As after a life of the agent in a container with a memory of its own.
    @Test func theListOfAnEarlierProcessIsNotBelieved() async throws {
        var journal = try await directory.open()
        _ = try await journal.started(oneOff("first"))
        let earlier = BegunRuns.path(try #require(journal.trace?.session))
        let list = try Data(contentsOf: URL(filePath: earlier))
        await journal.close()
        journal = try await directory.open()
        try await journal.begin(oneOff("begun"))
        await journal.close()
        unlink(BegunRuns.path(try #require(journal.trace?.session)))
        try list.write(to: URL(filePath: earlier))
        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path)
        unlink(earlier)
        #expect(report.takenBack.isEmpty)
        #expect(report.interrupted.map(\.taskID) == ["begun"])
        await journal.close()
    }

    @Test func aListThatCanNotBeWrittenIsWithdrawn() async throws {
        let path = directory.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            let begun = oneOff("begun")
            _ = try await journal.started(begun)
            // As a plugin that makes a daemon of itself does.
            for descriptor in Int32(3)..<256 { close(descriptor) }
            journal.trace?.enter(run: begun.runID.rawValue, plugin: "p", scriptHash: "h")
            kill(getpid(), SIGKILL)
        }
        let (journal, report) = try await RunJournal.open(directory: path)
        #expect(report.takenBack.isEmpty)
        #expect(report.interrupted.map(\.taskID) == ["begun"])
        await journal.close()
    }

    @Test func anAgentThatEndsInOrderLeavesNothingInTheHostsMemory() async throws {
        let journal = try await directory.open()
        let run = oneOff("a")
        try await journal.begin(run)
        let path = BegunRuns.path(try #require(journal.trace?.session))
        #expect(FileManager.default.fileExists(atPath: path))
        try await journal.finished(run.runID, status: .succeeded, result: result())
        await journal.close()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func aTraceThatIsCutUnderTheProcessDoesNotEndIt() async throws {
        let path = directory.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            guard truncate(path + "/calls.trace", 0) == 0 else { exit(1) }
            try await journal.begin(oneOff("a"))
            await journal.close()
            exit(0)
        }
    }

    @Test func moreRunsThanTheTraceHoldsAreAllTakenAsBegun() async throws {
        var journal = try await directory.open()
        for number in 0...2048 { journal.trace?.enter(run: "\(number)", plugin: "p", scriptHash: "h") }
        _ = try await journal.started(oneOff("waiting"))
        await journal.close()
        let report: RecoveryReport
        (journal, report) = try await RunJournal.open(directory: directory.path)
        #expect(report.takenBack.isEmpty)
        #expect(report.interrupted.map(\.taskID) == ["waiting"])
        await journal.close()
    }

    @Test func takingBackLeavesNothing() async throws {
        let journal = try await directory.open()
        let run = oneOff("a")
        _ = try await journal.started(run)
        try await journal.undoStart(run)
        #expect(!journal.hasStarted("a"))
        #expect(try await journal.reader.run(run.runID) == nil)
        let second = oneOff("a")
        #expect(try await journal.begin(second) == .go)
        // What has ended stays.
        try await journal.finished(second.runID, status: .succeeded, result: result())
        try await journal.undoStart(run)
        #expect(try await journal.started(oneOff("a")) == .alreadyRan)
        await journal.close()
    }

    @Test func verdictMayBlameThePlugin() async throws {
        var journal = try await directory.open()
        try await journal.begin(oneOff("a"))
        await journal.close()
        (journal, _) = try await RunJournal.open(directory: directory.path) { run in
            (.crashed, RunError(code: "plugin.crashed", message: "\(run.pluginID ?? "")"))
        }
        let result = try await journal.nextDeliveries(limit: 1).first?.result
        #expect(result?.status == .crashed)
        #expect(result?.error?.message == "demo")
        await journal.close()
    }

    @Test func fireTimesAreKeptAndNeverGoBack() async throws {
        var journal = try await directory.open()
        try await journal.run(scheduled("s", at: noon))
        try await journal.fired("s", at: noon.addingTimeInterval(-60))
        try await journal.fired("t", at: noon)
        await journal.close()
        journal = try await directory.open()
        #expect(try await journal.reader.lastFireTime(of: "s") == noon)
        #expect(try await journal.reader.lastFireTimes() == ["s": noon, "t": noon])
        try await journal.forgetSchedules(["s"])
        #expect(try await journal.reader.lastFireTime(of: "s") == nil)
        await journal.close()
    }

    @Test func historyIsPagedAndFiltered() async throws {
        let journal = try await directory.open()
        var ids: [RunID] = []
        for number in 0..<10 { ids.append(try await journal.run(oneOff("t\(number)"))) }
        let failed = scheduled("s")
        _ = try await journal.started(failed)
        try await journal.finished(failed.runID, status: .failed, result: result())
        let reader = journal.reader
        #expect(try await reader.history(limit: 3).map(\.runID) == [failed.runID, ids[9], ids[8]])
        #expect(try await reader.history(limit: 2, before: ids[8]).map(\.runID) == [ids[7], ids[6]])
        #expect(try await reader.history(HistoryFilter(taskID: "t4")).map(\.runID) == [ids[4]])
        #expect(try await reader.history(HistoryFilter(status: .failed)).map(\.runID) == [failed.runID])
        #expect(try await reader.history(HistoryFilter(taskID: "t4", status: .failed)).isEmpty)
        #expect(try await reader.run(RunID()) == nil)
        await journal.close()
        await #expect(throws: RunJournalError.self) { try await reader.history() }
        await #expect(throws: RunJournalError.closed) { try await journal.started(oneOff("z")) }
    }

    @Test func readsBesideTheAgent() async throws {
        await #expect(throws: RunJournalError.missing(directory: directory.path)) {
            try await RunJournal.openReadOnly(directory: directory.path)
        }
        let journal = try await directory.open()
        let id = try await journal.run(oneOff("a"))
        let reader = try await RunJournal.openReadOnly(directory: directory.path)
        #expect(try await reader.history().map(\.runID) == [id])
        let later = try await journal.run(oneOff("b"))
        #expect(try await reader.history().map(\.runID) == [later, id])
        await journal.close()
        // Also from a copy that came without the write-ahead log.
        for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: directory.database + suffix) }
        let afterwards = try await RunJournal.openReadOnly(directory: directory.path)
        #expect(try await afterwards.counts().pending == 2)
        let reopened = try await directory.open()
        #expect(try await reopened.nextDeliveries(limit: 9).map(\.runID) == [id, later])
        await reopened.close()
    }

    @Test func isClosedToOthersAndSynced() async throws {
        try FileManager.default.createDirectory(atPath: directory.path, withIntermediateDirectories: true)
        chmod(directory.path, 0o755)
        let journal = try await directory.open()
        try await journal.run(oneOff("a"))
        func mode(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
        #expect(try mode(directory.path) == 0o700)
        for file in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
            #expect(try mode(directory.path + "/" + file) == 0o600, "\(file)")
        }
        let synchronous = try await journal.writer.perform { db in try Int.fetchOne(db, sql: "PRAGMA synchronous") }
        #expect(synchronous == 2)
        await journal.close()
    }

    @Test func holdsAHundredThousandOneOffs() async throws {
        var journal = try await directory.open()
        try await journal.writer.perform { db in
            for number in 0..<100_000 {
                try db.cachedStatement(sql: "INSERT INTO one_off_task VALUES (?, ?)")
                    .execute(arguments: ["9ab56426-0000-4000-8000-\(number)", "r"])
            }
        }
        await journal.close()
        journal = try await directory.open()
        let listed = (50_000..<150_000).map { "9ab56426-0000-4000-8000-\($0)" }
        #expect(Set(journal.oneOffTasksStarted(among: listed).map(\.text)) == Set(listed.prefix(50_000)))
        await journal.close()
    }
}
