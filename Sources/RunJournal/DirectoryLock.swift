import AgentModel
import Foundation

/// The exclusive hold on a state directory, for as long as this value lives.
///
/// A record lock (fcntl(2), `F_SETLK`) and not flock(2): a child that a plugin forks would inherit the latter and
/// hold the directory after the agent's death, and only the former tells who holds it.
struct DirectoryLock: ~Copyable {
    private let descriptor: Int32
    private let path: String

    /// Directories held by this process: record locks don't keep a process from taking its own lock again.
    private static let held = BlockingLock<Set<String>>([])

    private init(descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Takes hold of a directory.
    /// - Throws: `RunJournalError.locked`, or what opening the lock file met.
    static func acquire(directory: String) throws(RunJournalError) -> DirectoryLock {
        let path = URL(fileURLWithPath: directory).resolvingSymlinksInPath().path + "/lock"
        guard held.withLock({ $0.insert(path).inserted }) else {
            throw .locked(directory: directory, processID: getpid())
        }
        do throws(RunJournalError) {
            return DirectoryLock(descriptor: try lockedDescriptor(path, directory: directory), path: path)
        } catch {
            forget(path)
            throw error
        }
    }

    private static func lockedDescriptor(_ path: String, directory: String) throws(RunJournalError) -> Int32 {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        var request = flock()
        request.l_type = Int16(F_WRLCK)
        request.l_whence = Int16(SEEK_SET)
        guard fcntl(descriptor, F_SETLK, &request) == 0 else {
            let error =
                errno == EACCES || errno == EAGAIN
                ? RunJournalError.locked(directory: directory, processID: holder(of: descriptor))
                : .system("fcntl", path: path)
            close(descriptor)
            throw error
        }
        // For people only: the kernel knows the holder.
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = pwrite(descriptor, text, text.count, 0)
        return descriptor
    }

    /// Who holds a directory, asked without taking hold of it.
    /// - Throws: `journal.io` where the lock file may not be read.
    static func holder(directory: String) throws(RunJournalError) -> DirectoryHolder {
        let path = URL(fileURLWithPath: directory).resolvingSymlinksInPath().path + "/lock"
        // Kept locked to the end: closing any descriptor of the file would drop a lock that this process takes
        // meanwhile.
        let answer: Result<DirectoryHolder, RunJournalError> = held.withLock { held in
            if held.contains(path) { return .success(.running(processID: getpid())) }
            let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            guard descriptor >= 0 else {
                return errno == ENOENT || errno == ENOTDIR
                    ? .success(.nobody) : .failure(.unreadable("open", path: path))
            }
            defer { close(descriptor) }
            var request = flock()
            request.l_type = Int16(F_WRLCK)
            request.l_whence = Int16(SEEK_SET)
            guard fcntl(descriptor, F_GETLK, &request) == 0 else {
                return .failure(.unreadable("fcntl", path: path))
            }
            if request.l_type == Int16(F_UNLCK) { return .success(.nobody) }
            // 0 where the holder lives outside of this process's namespace.
            return .success(.running(processID: request.l_pid > 0 ? request.l_pid : nil))
        }
        return try answer.get()
    }

    deinit {
        close(descriptor)
        Self.forget(path)
    }

    private static func forget(_ path: String) {
        held.withLock { _ = $0.remove(path) }
    }

    private static func holder(of descriptor: Int32) -> Int32? {
        var request = flock()
        request.l_type = Int16(F_WRLCK)
        request.l_whence = Int16(SEEK_SET)
        if fcntl(descriptor, F_GETLK, &request) == 0, request.l_type != Int16(F_UNLCK), request.l_pid > 0 {
            return request.l_pid
        }
        // The holder is outside of this process's namespace; what it wrote is its id in its own.
        return nil
    }
}
