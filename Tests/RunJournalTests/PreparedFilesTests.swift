import Foundation
import Testing

@testable import RunJournal

/// A state directory in which somebody has put something before the agent came.
@Suite struct PreparedFilesTests {
    private let folder = JournalDirectory()
    private var directory: String { folder.path + "/state" }
    private var victim: String { folder.path + "/victim" }

    init() throws {
        mkdir(folder.path, 0o700)
        mkdir(directory, 0o755)
        try Data("secret".utf8).write(to: URL(filePath: victim))
        chmod(victim, 0o644)
    }

    private func expectVictimUnharmed() throws {
        var status = stat()
        stat(victim, &status)
        #expect(status.st_mode & 0o777 == 0o644)
        #expect(try String(contentsOfFile: victim, encoding: .utf8) == "secret")
    }

    @Test(arguments: [true, false])
    func theFileOfTheHolderIsAlwaysNew(_ isHard: Bool) async throws {
        _ = isHard ? link(victim, directory + "/lock") : symlink(victim, directory + "/lock")
        _ = try await RunJournal.open(directory: directory)
        try expectVictimUnharmed()
    }

    @Test(arguments: [true, false])
    func aDatabaseThatIsALinkIsRefused(_ isHard: Bool) async throws {
        _ = isHard ? link(victim, directory + "/journal.sqlite") : symlink(victim, directory + "/journal.sqlite")
        let error = await #expect(throws: RunJournalError.self) { try await RunJournal.open(directory: directory) }
        #expect(error?.code == "journal.io")
        try expectVictimUnharmed()
    }

    @Test(.enabled(if: geteuid() == 0))
    func aDirectoryOfAnotherUserIsRefused() async throws {
        chown(directory, 12_345, gid_t.max)
        let error = await #expect(throws: RunJournalError.self) { try await RunJournal.open(directory: directory) }
        #expect(error?.message.contains("belongs to the user with the id 12345") == true)
    }
}
