internal import CCallTrace
import Foundation

/// The exclusive hold on a state directory, for as long as this value lives.
///
/// flock(2) on the directory itself. It belongs to the open file and not to the process, as a record lock does, which
/// the kernel drops when any descriptor of its file is closed, by a plugin that reads the folder for example. And a
/// directory can't be deleted without what is in it, as a lock file can. A child that a plugin forks shares the open
/// file; it closes it, so that it doesn't hold the directory after the agent's death.
struct DirectoryLock: ~Copyable {
    private let descriptor: Int32

    /// How often a hold that somebody has for a moment, to ask who has it, is waited for, 10 ms each time.
    private static let patience = 50

    /// Takes hold of a directory.
    /// - Throws: `RunJournalError.locked`, or what opening the directory or writing the process's id met.
    static func acquire(directory: String) throws(RunJournalError) -> DirectoryLock {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: directory) }
        var attempts = 0
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            attempts += 1
            if errno == EWOULDBLOCK, attempts < patience {
                usleep(10_000)
                continue
            }
            let error =
                errno == EWOULDBLOCK
                ? RunJournalError.locked(directory: directory, processID: HolderFile(directory: directory).processID)
                : .system("flock", path: directory)
            close(descriptor)
            throw error
        }
        rb_close_in_children(descriptor)
        let lock = DirectoryLock(descriptor: descriptor)
        try HolderFile(directory: directory).write()
        return lock
    }

    /// Who holds a directory.
    /// - Throws: `journal.io` where the directory may not be read.
    static func holder(directory: String) throws(RunJournalError) -> DirectoryHolder {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return .nobody }
            throw .unreadable("open", path: directory)
        }
        defer { close(descriptor) }
        // There is no asking without taking. Shared, so that two who ask don't find each other.
        if flock(descriptor, LOCK_SH | LOCK_NB) == 0 { return .nobody }
        guard errno == EWOULDBLOCK else { throw .unreadable("flock", path: directory) }
        return .running(processID: HolderFile(directory: directory).processID)
    }

    deinit {
        // A child that is being started shares the open file until it runs its own program.
        flock(descriptor, LOCK_UN)
        rb_keep_in_children(descriptor)
        close(descriptor)
    }
}

/// The file in a state directory that names the process which holds it. It is for people: nothing follows from it.
private struct HolderFile {
    let path: String

    init(directory: String) { path = directory + "/lock" }

    /// The process's id, and what it is an id in (pid_namespaces(7)).
    private static var ownText: String { "\(getpid()) \(namespace)" }

    private static var namespace: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")) ?? ""
    }

    func write() throws(RunJournalError) {
        // A new file always: what is there may be another name of somebody else's (link(2)).
        guard unlink(path) == 0 || errno == ENOENT else { throw .system("unlink", path: path) }
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw .system("open", path: path) }
        defer { close(file) }
        let text = Array((Self.ownText + "\n").utf8)
        _ = pwrite(file, text, text.count, 0)
    }

    /// Nil where the file is gone, or the id is one in another container.
    var processID: Int32? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        let words = text.split(whereSeparator: \.isWhitespace)
        guard let processID = words.first.flatMap({ Int32($0) }), words.dropFirst().joined() == Self.namespace else {
            return nil
        }
        return processID
    }
}
