import Foundation

/// A small file that nobody but its owner may read. Symbolic links are not followed.
struct SecretFile {
    let path: String
    /// Bytes at most.
    var limit = 1 << 20
    /// The bits of the mode that no such file may have.
    var forbiddenMode: mode_t = 0o077

    /// The bytes, or nil where there is no such file.
    /// - Parameter owners: beside root, whom the file may belong to.
    func read(owners: Set<uid_t>) throws(LoginError) -> [UInt8]? {
        // Without O_NONBLOCK a planted FIFO would hold us for ever.
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            switch errno {
            case ENOENT: return nil
            case ELOOP: throw .unsafeFile(path: path, problem: "it is a symbolic link")
            default: throw failure("opening")
            }
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw failure("looking at") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .unsafeFile(path: path, problem: "it is no file") }
        guard status.st_uid == 0 || owners.contains(status.st_uid) else {
            throw .unsafeFile(path: path, problem: "it belongs to the user with the id \(status.st_uid)")
        }
        guard status.st_mode & forbiddenMode == 0 else {
            throw .unsafeFile(
                path: path,
                problem: "others than its owner may use it (mode \(String(status.st_mode & 0o7777, radix: 8)))")
        }
        guard status.st_size <= limit else {
            throw .unsafeFile(path: path, problem: "it has \(status.st_size) bytes, over the limit of \(limit)")
        }
        return try readAll(file)
    }

    /// Puts bytes in place of what is there, so that at no time there is half of it, and returns when that is on disk.
    ///
    /// - Parameters:
    ///   - owner: whom a file made by root shall belong to.
    ///   - replaces: false to leave a file that is there already as it is.
    func write(_ bytes: [UInt8], owner: uid_t, replaces: Bool = true) throws(LoginError) {
        removeLeftovers()
        let temporary = "\(path)\(Self.temporaryMark)\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        // O_EXCL follows no link and opens nothing that is there.
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure("creating") }
        // Ends with the process: who can take it has found a leftover.
        flock(file, LOCK_EX | LOCK_NB)
        defer {
            close(file)
            unlink(temporary)
        }
        if geteuid() == 0, owner != 0, fchown(file, owner, gid_t.max) != 0 { throw failure("giving away") }
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure("writing") }
            written += count
        }
        guard fsync(file) == 0 else { throw failure("writing") }
        if replaces {
            guard rename(temporary, path) == 0 else { throw failure("replacing") }
        } else {
            guard link(temporary, path) == 0 || errno == EEXIST else { throw failure("creating") }
        }
        try Self.synchronize((path as NSString).deletingLastPathComponent)
    }

    /// Takes away what a process left that ended in the middle of a write: a key is in plain text in it.
    func removeLeftovers() {
        let folder = (path as NSString).deletingLastPathComponent
        let start = (path as NSString).lastPathComponent + Self.temporaryMark
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.isEmpty ? "." : folder)) ?? []
        for name in names where name.hasPrefix(start) {
            let leftover = (folder as NSString).appendingPathComponent(name)
            let file = open(leftover, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
            guard file >= 0 else { continue }
            if flock(file, LOCK_EX | LOCK_NB) == 0 { unlink(leftover) }
            close(file)
        }
    }

    private static let temporaryMark = ".new-"

    /// Takes the file away; that there is none is fine.
    func remove() throws(LoginError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("removing") }
        try Self.synchronize((path as NSString).deletingLastPathComponent)
    }

    /// Returns when names that were given and taken in a folder are on disk.
    static func synchronize(_ folder: String) throws(LoginError) {
        let descriptor = open(folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SecretFile(path: folder).failure("opening") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw SecretFile(path: folder).failure("writing") }
    }

    private func readAll(_ file: Int32) throws(LoginError) -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failure("reading") }
            if count == 0 { return bytes }
            bytes += piece[..<count]
            guard bytes.count <= limit else {
                throw .unsafeFile(path: path, problem: "it has over \(limit) bytes")
            }
        }
    }

    func failure(_ doing: String) -> LoginError {
        .storage(path: path, problem: "\(doing) it failed: \(String(cString: strerror(errno)))")
    }
}
