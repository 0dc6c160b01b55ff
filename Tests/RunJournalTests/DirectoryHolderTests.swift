import Foundation
import Testing

@testable import RunJournal

@Suite struct DirectoryHolderTests {
    let directory = JournalDirectory()

    @Test func nobodyHoldsWhatIsNotThereOrWasClosed() async throws {
        #expect(try RunJournal.holder(of: directory.path) == .nobody)
        let journal = try await directory.open()
        #expect(try RunJournal.holder(of: directory.path) == .running(processID: getpid()))
        await journal.close()
        #expect(try RunJournal.holder(of: directory.path) == .nobody)
    }

    /// Closing a descriptor of a file drops the process's record locks on it (fcntl(2)).
    @Test func askingDoesNotLetGoOfOurOwnLock() async throws {
        let journal = try await directory.open()
        _ = try RunJournal.holder(of: directory.path)
        let path = directory.path
        let holder = getpid()
        await #expect(processExitsWith: .success) { [path = path as String, holder = holder as Int32] in
            exit(try RunJournal.holder(of: path) == .running(processID: holder) ? 0 : 1)
        }
        await journal.close()
    }

    @Test func aHolderThatWasKilledIsGone() async throws {
        let path = directory.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let (journal, _) = try await RunJournal.open(directory: path)
            _ = try await journal.started(oneOff("a"))
            guard try RunJournal.holder(of: path) == .running(processID: getpid()) else { exit(1) }
            kill(getpid(), SIGKILL)
            await journal.close()
        }
        #expect(try RunJournal.holder(of: directory.path) == .nobody)
        // Nothing was closed: what is in the write-ahead log is read all the same.
        #expect(try await RunJournal.openReadOnly(directory: directory.path).counts().running == 1)
    }

    @Test func aFolderThatMayNotBeReadIsNotTakenForOneWithoutAJournal() async throws {
        let journal = try await directory.open()
        await journal.close()
        let path = directory.path
        await #expect(processExitsWith: .success) { [path = path as String] in
            // Root may read whatever the mode says, so that the child is somebody else.
            let nobody: UInt32 = 65_534
            if geteuid() == 0 {
                guard setgid(nobody) == 0, setuid(nobody) == 0 else { exit(2) }
            } else {
                chmod(path, 0)
            }
            do throws(RunJournalError) {
                _ = try await RunJournal.openReadOnly(directory: path)
                exit(1)
            } catch {
                exit(error.code == "journal.io" && error.message.contains("Permission denied") ? 0 : 3)
            }
        }
    }
}
