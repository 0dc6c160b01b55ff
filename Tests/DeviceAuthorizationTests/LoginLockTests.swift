import AgentTestSupport
import Foundation
import Testing

@testable import DeviceAuthorization

/// Lock files in a folder of the agent's user, which root's login opens too. One that was another name of somebody's
/// file was once given to that user.
@Suite(.enabled(if: geteuid() == 0)) struct LoginLockTests {
    let folder: TemporaryFolder
    private var directory: String { folder.path("state") }
    private var lock: String { directory + "/login.lock" }
    private var victim: String { folder.path("victim") }
    private static let user: UInt32 = 12_345

    init() throws {
        folder = try TemporaryFolder()
        mkdir(directory, 0o700)
        chown(directory, Self.user, gid_t.max)
        try Data("secret".utf8).write(to: URL(filePath: victim))
    }

    private func owner(_ path: String) -> UInt32? {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_uid : nil
    }

    @Test func aNewOneIsTheUsers() throws {
        let held = try #require(try LoginLock.attempt(.change, directory: directory))
        #expect(owner(lock) == Self.user)
        held.release()
        try #require(try LoginLock.attempt(.change, directory: directory)).release()
    }

    @Test(arguments: ["hard link", "symbolic link", "another user's", "FIFO"])
    func whatSomebodyHasPutThereIsLeftAlone(_ kind: String) throws {
        switch kind {
        case "hard link": link(victim, lock)
        case "symbolic link": symlink(victim, lock)
        case "FIFO": mkfifo(lock, 0o600)
        default:
            try Data("secret".utf8).write(to: URL(filePath: lock))
            chown(lock, Self.user + 1, gid_t.max)
        }
        let error = #expect(throws: LoginError.self) { try LoginLock.attempt(.change, directory: directory) }
        #expect(error?.code == "login.unsafe_file")
        #expect(owner(victim) == 0)
        #expect(try String(contentsOfFile: victim, encoding: .utf8) == "secret")
        if kind == "another user's" { #expect(owner(lock) == Self.user + 1) }
    }
}
