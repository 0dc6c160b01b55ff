import AgentModel
import Foundation
import Testing

@testable import RunJournal

/// What needs a second process: an exit test is one.
@Suite struct ProcessTests {
    let directory = JournalDirectory()

    @Test(arguments: [1, 7, 40, 200, 900])
    func whatWasAcknowledgedSurvivesAKill(_ acknowledgements: Int) async throws {
        let path = directory.path
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [path = path as String, acknowledgements = acknowledgements as Int] in
            let (journal, _) = try await RunJournal.open(directory: path)
            let log = open(path + "/acknowledged", O_WRONLY | O_CREAT | O_APPEND, 0o600)
            await withTaskGroup(of: Void.self) { group in
                for lane in 0..<16 {
                    group.addTask {
                        for number in 0... {
                            let run = oneOff("\(lane)-\(number)")
                            guard (try? await journal.begin(run)) == .go else { return }
                            let started = Array("s \(run.taskID)\n".utf8)
                            write(log, started, started.count)
                            let isTaken = try? await journal.finished(run.runID, status: .succeeded, result: result())
                            guard isTaken == true else { return }
                            let finished = Array("f \(run.taskID)\n".utf8)
                            write(log, finished, finished.count)
                        }
                    }
                }
                group.addTask {
                    // The length of the log tells how far the others are.
                    var status = stat()
                    let deadline = ContinuousClock.now.advanced(by: .seconds(300))
                    while fstat(log, &status) == 0, status.st_size < acknowledgements * 6,
                        ContinuousClock.now < deadline
                    {
                        try? await Task.sleep(for: .milliseconds(5))
                    }
                    kill(getpid(), SIGKILL)
                }
            }
        }
        let lines = try String(contentsOfFile: path + "/acknowledged", encoding: .utf8).split(separator: "\n")
        let started = Set(lines.filter { $0.hasPrefix("s ") }.map { String($0.dropFirst(2)) })
        let finished = Set(lines.filter { $0.hasPrefix("f ") }.map { String($0.dropFirst(2)) })
        #expect(started.count + finished.count >= acknowledgements / 2)

        let (journal, report) = try await RunJournal.open(directory: path)
        #expect(report.damage == nil)
        #expect(Set(journal.oneOffTasksStarted(among: started).map(\.text)) == started)
        var succeeded: Set<String> = []
        var interrupted: Set<String> = []
        for delivery in try await journal.nextDeliveries(limit: .max) {
            if delivery.result.status == .succeeded { succeeded.insert(delivery.taskID) }
            if delivery.result.status == .interrupted { interrupted.insert(delivery.taskID) }
        }
        #expect(succeeded.isSuperset(of: finished))
        #expect(interrupted == Set(report.interrupted.map(\.taskID)))
        // Every start has exactly one result.
        #expect(succeeded.isDisjoint(with: interrupted))
        #expect(succeeded.union(interrupted).isSuperset(of: started))
        let counts = try await journal.reader.counts()
        #expect(counts.oneOffTasks == counts.pending)
        await journal.close()
    }

    @Test func aSecondAgentIsRefusedAndToldOfTheFirst() async throws {
        let journal = try await directory.open()
        let path = directory.path
        let holder = getpid()
        await #expect(processExitsWith: .success) { [path = path as String, holder = holder as Int32] in
            let error = await refusal(of: path)
            exit(error == .locked(directory: path, processID: holder) ? 0 : 1)
        }
        // Within one process too.
        await #expect(throws: RunJournalError.locked(directory: path, processID: holder)) {
            try await RunJournal.open(directory: path)
        }
        await journal.close()
        let next = try await directory.open()
        await next.close()
    }

    /// Whatever in-process plugins do to the files: the hold is no file's.
    @Test(arguments: ["opened and closed", "deleted"])
    func theHoldOutlivesWhatIsDoneToTheLockFile(_ deed: String) async throws {
        let journal = try await directory.open()
        let path = directory.path
        for name in try FileManager.default.contentsOfDirectory(atPath: path) {
            try #require(FileHandle(forReadingAtPath: path + "/" + name)).close()
        }
        if deed == "deleted" { try FileManager.default.removeItem(atPath: path + "/lock") }
        let holder = deed == "deleted" ? -1 : getpid()
        await #expect(processExitsWith: .success) { [path = path as String, holder = holder as Int32] in
            let error = await refusal(of: path)
            exit(error == .locked(directory: path, processID: holder < 0 ? nil : holder) ? 0 : 1)
        }
        #expect(try RunJournal.holder(of: path) == .running(processID: holder < 0 ? nil : holder))
        await journal.close()
    }

    /// Where it closes one of the database's files, SQLite's own locks are gone, and a command of a person removes the log.
    @Test func whatIsWrittenIntoALogThatIsGoneStartsNothing() async throws {
        let journal = try await directory.open()
        #expect(try await journal.started(oneOff("before")) == .go)
        #expect(unlink(directory.database + "-wal") == 0)
        await #expect(throws: RunJournalError.removed(path: directory.database)) {
            try await journal.started(oneOff("after"))
        }
        await journal.close()
    }

    /// A child that a plugin forks shares the agent's open files, and must not hold the directory after its death.
    @Test func aForkedChildDoesNotHoldTheDirectory() async throws {
        let path = directory.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            // Swift doesn't import fork(2), which plugins use.
            typealias Fork = @convention(c) () -> pid_t
            let fork = unsafeBitCast(dlsym(nil, "fork"), to: Fork.self)
            let child = fork()
            if child == 0 {
                // All but directories: the pipes of this process are waited for to their end.
                for descriptor in Int32(0)..<65_536 {
                    var status = stat()
                    if fstat(descriptor, &status) == 0, status.st_mode & S_IFMT != S_IFDIR { close(descriptor) }
                }
                // Longer than any test, and not for ever where nobody ends it.
                alarm(60)
                while true { pause() }
            }
            try Data("\(child)".utf8).write(to: URL(filePath: path + "/child"))
            guard try RunJournal.holder(of: path) == .running(processID: getpid()) else { exit(1) }
            kill(getpid(), SIGKILL)
            await journal.close()
        }
        let child = try #require(pid_t(try String(contentsOfFile: path + "/child", encoding: .utf8)))
        let holder = try RunJournal.holder(of: path)
        #expect(kill(child, SIGKILL) == 0, "the child has outlived it")
        #expect(holder == .nobody)
    }

    @Test func aReadOnlyFolderIsSaid() async throws {
        let path = directory.path
        let nobody: UInt32 = 65_534
        #expect(mkdir(path, 0o500) == 0)
        // Root may write whatever the mode says, so that the child is somebody else.
        if geteuid() == 0 { #expect(chown(path, nobody, nobody) == 0) }
        await #expect(processExitsWith: .success) { [path = path as String, nobody = nobody as UInt32] in
            if geteuid() == 0, setgid(nobody) != 0 || setuid(nobody) != 0 { exit(2) }
            exit(await refusal(of: path)?.code == "journal.read_only" ? 0 : 1)
        }
    }

    @Test func aFileThatCannotGrowIsAnErrorAndNoDeath() async throws {
        let path = directory.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            guard try await journal.begin(oneOff("before")) == .go else { exit(1) }
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(1), &limit)  // RLIMIT_FSIZE, which glibc has as an enumeration
            let unlimited = limit
            limit.rlim_cur = 100_000
            setrlimit(__rlimit_resource_t(1), &limit)
            let run = oneOff("during")
            let large = TaskResult(data: String(repeating: "x", count: 500_000))
            do {
                _ = try await journal.started(run)
                try await journal.finished(run.runID, status: .succeeded, result: large)
                exit(2)
            } catch {
                guard ["journal.io", "journal.disk_full"].contains((error as? RunJournalError)?.code) else { exit(3) }
            }
            var restored = unlimited
            setrlimit(__rlimit_resource_t(1), &restored)
            try await journal.begin(oneOff("after"))
            await journal.close()
        }
        let (journal, report) = try await RunJournal.open(directory: path)
        #expect(report.damage == nil)
        #expect(journal.oneOffTasksStarted(among: ["before", "after"]) == ["before", "after"])
        await journal.close()
    }
}

private func refusal(of directory: String) async -> RunJournalError? {
    do throws(RunJournalError) {
        _ = try await RunJournal.open(directory: directory)
        return nil
    } catch {
        return error
    }
}
