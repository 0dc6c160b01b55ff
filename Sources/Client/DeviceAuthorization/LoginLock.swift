import Foundation
import Glibc

/// A lock between processes on a file (flock(2)), held until ``release()``.
struct LoginLock: Sendable {
    /// What the locks of a state directory are for.
    enum Purpose: String {
        /// Changing what is stored, with the refresh of tokens.
        case change = "login.lock"
        /// Polling for the approval of a code.
        case polling = "login.poll.lock"
    }

    private let descriptor: Int32

    private init(descriptor: Int32) { self.descriptor = descriptor }

    /// Called once.
    func release() {
        // Before the close, because a child that a plugin forked meanwhile has inherited the descriptor, and the lock
        // would live on with it.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// When the holder, or one before it, last noted a poll, by this host's clock. It is the file's only content.
    var lastPoll: Date? {
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count > 0 else { return nil }
        return Int(String(decoding: bytes[..<count], as: UTF8.self))
            .map { Date(timeIntervalSince1970: TimeInterval($0)) }
    }

    /// Notes a poll for whoever holds the lock next. Where that can't be written down the backend says `slow_down`.
    func notePoll(_ time: Date) {
        let text = Array("\(Int(time.timeIntervalSince1970.rounded(.up)))".utf8)
        ftruncate(descriptor, 0)
        pwrite(descriptor, text, text.count, 0)
    }

    /// Takes the lock; nil where another process, or another part of this one, holds it.
    static func attempt(_ purpose: Purpose, directory: String) throws(LoginError) -> LoginLock? {
        let path = directory + "/" + purpose.rawValue
        let descriptor = try open(path, in: directory)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let problem = errno
            close(descriptor)
            if problem == EWOULDBLOCK || problem == EINTR { return nil }
            throw .storage(path: path, problem: "locking it failed: \(String(cString: strerror(problem)))")
        }
        return LoginLock(descriptor: descriptor)
    }

    /// Opens the file, made where it isn't there.
    ///
    /// Root may do this in a folder of the agent's user, who can have put there what isn't his: another name of somebody
    /// else's file (link(2)), which must neither be given to him nor written to.
    private static func open(_ path: String, in directory: String) throws(LoginError) -> Int32 {
        // Another process may make or remove it in between.
        for _ in 0..<10 {
            let made = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            if made >= 0 {
                var status = stat()
                // What root makes is for the user that the agent runs as. It is certain to be new.
                if geteuid() == 0, stat(directory, &status) == 0, status.st_uid != 0 {
                    fchown(made, status.st_uid, gid_t.max)
                }
                return made
            }
            guard errno == EEXIST else { throw SecretFile(path: path).failure("making") }
            // Without O_NONBLOCK a planted FIFO would hold us for ever.
            let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            if descriptor >= 0 {
                guard let problem = problem(with: descriptor, in: directory) else { return descriptor }
                close(descriptor)
                throw .unsafeFile(path: path, problem: problem)
            }
            if errno == ELOOP { throw .unsafeFile(path: path, problem: "it is a symbolic link") }
            guard errno == ENOENT else { throw SecretFile(path: path).failure("opening") }
        }
        throw SecretFile(path: path).failure("opening")
    }

    /// What is wrong with a lock file that was there.
    private static func problem(with descriptor: Int32, in directory: String) -> String? {
        var (status, folder) = (stat(), stat())
        guard fstat(descriptor, &status) == 0, stat(directory, &folder) == 0 else { return "it can't be looked at" }
        guard status.st_mode & S_IFMT == S_IFREG else { return "it is no file" }
        guard status.st_uid == geteuid() || status.st_uid == folder.st_uid else {
            return "it belongs to the user with the id \(status.st_uid)"
        }
        return status.st_nlink == 1 ? nil : "it has another name, under which it may be somebody else's file"
    }

    /// Waits for the lock, for as long as a refresh by another process may take.
    ///
    /// Asked for again and again rather than waited for in the kernel: a thread that waits there can't be called back.
    static func take(_ purpose: Purpose, directory: String) async throws(LoginError) -> LoginLock {
        let end = ContinuousClock.now + .seconds(90)
        var pause = Duration.milliseconds(5)
        while true {
            if let lock = try attempt(purpose, directory: directory) { return lock }
            guard ContinuousClock.now < end else { throw .busy(path: directory + "/" + purpose.rawValue) }
            do {
                try await Task.sleep(for: pause)
            } catch {
                throw .busy(path: directory + "/" + purpose.rawValue)
            }
            pause = min(pause * 2, .milliseconds(200))
        }
    }
}
