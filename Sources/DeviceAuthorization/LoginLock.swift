import Foundation

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
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            if errno == ELOOP { throw .unsafeFile(path: path, problem: "it is a symbolic link") }
            throw SecretFile(path: path).failure("opening")
        }
        var status = stat()
        // What root makes is for the user that the agent runs as.
        if geteuid() == 0, stat(directory, &status) == 0, status.st_uid != 0 {
            fchown(descriptor, status.st_uid, gid_t.max)
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let problem = errno
            close(descriptor)
            if problem == EWOULDBLOCK || problem == EINTR { return nil }
            throw .storage(path: path, problem: "locking it failed: \(String(cString: strerror(problem)))")
        }
        return LoginLock(descriptor: descriptor)
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
