import Cryptography
import Foundation

/// An open directory and the files right in it, by name. No symbolic link in it is followed, whatever it points to.
/// The directory may be one itself: hosts keep what grows on another disk.
final class StoreDirectory: Sendable {
    /// For messages only: files are reached through the open directory, wherever it is moved.
    let path: String
    private let descriptor: Int32

    /// No PLUGIN_ID begins with a dot, so none has a file like that.
    private static let temporaryPrefix = ".tmp-"

    /// Opens the directory, and makes it with mode 0700 where it isn't there.
    ///
    /// Documents in it say which digest is right, so nobody else may have been able to write there. A directory of
    /// another owner is refused. One that others can read is tightened to 0700. One that others can *write* to is
    /// refused unless it is empty: tightening it would give trust to what they may have put in.
    init(path: String, createsMissing: Bool) throws(PluginStoreError) {
        self.path = path
        if createsMissing { try Self.create(path) }
        try Self.checkLink(path)
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure("opening", path) }
        self.descriptor = descriptor
        try tighten()
    }

    deinit { close(descriptor) }

    func path(of name: String) -> String { path + "/" + name }

    /// Whether it has no name any more, so that nothing can be made in it.
    var isDeleted: Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_nlink == 0
    }

    /// The file's identity now, or nil where there is none of this name.
    func identity(of name: String) throws(PluginStoreError) -> FileVersion? {
        var status = stat()
        guard fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            if errno == ENOENT { return nil }
            throw Self.failure("looking at", path(of: name))
        }
        return FileVersion(status)
    }

    /// All bytes of a regular file and the identity they were read under; nil where there is none of this name.
    func read(_ name: String, limit: Int) throws(PluginStoreError) -> (bytes: [UInt8], identity: FileVersion)? {
        // Without O_NONBLOCK a planted FIFO would hold the agent for ever.
        let file = openat(descriptor, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            switch errno {
            case ENOENT: return nil
            case ELOOP: throw .unsafeFile(path: path(of: name), problem: "it is a symbolic link")
            default: throw Self.failure("opening", path(of: name))
            }
        }
        defer { close(file) }
        return try Self.read(file, path: path(of: name), limit: limit, mustBeOurs: true)
    }

    /// Puts a file in place of what has this name, so that at no time there is half of one (rename(2)).
    ///
    /// It is on disk when ``synchronize()`` has returned.
    func write(_ bytes: [UInt8], to name: String) throws(PluginStoreError) {
        let temporary = Self.temporaryPrefix + (try Self.randomName()) + "-" + name
        // O_EXCL follows no link and opens nothing that is there.
        let file = openat(descriptor, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Self.failure("creating", path(of: name)) }
        defer { close(file) }
        do throws(PluginStoreError) {
            try writeAll(bytes, to: file, name: name)
            guard fchmod(file, 0o600) == 0, fsync(file) == 0 else { throw Self.failure("writing", path(of: name)) }
            guard renameat(descriptor, temporary, descriptor, name) == 0 else {
                throw Self.failure("replacing", path(of: name))
            }
        } catch {
            unlinkat(descriptor, temporary, 0)
            throw error
        }
    }

    /// Returns when names that were given and taken are on disk.
    func synchronize() throws(PluginStoreError) {
        guard fsync(descriptor) == 0 else { throw Self.failure("synchronizing", path) }
    }

    /// Takes a name away; that it isn't there is fine. Of a symbolic link the link goes.
    func remove(_ name: String) throws(PluginStoreError) {
        guard unlinkat(descriptor, name, 0) == 0 || errno == ENOENT else {
            throw Self.failure("removing", path(of: name))
        }
    }

    /// All names in it, in no order.
    func names() throws(PluginStoreError) -> [String] {
        // A descriptor of its own, for the stream takes it and moves its position.
        let copy = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0, let stream = fdopendir(copy) else { throw Self.failure("listing", path) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Removes what a crash in ``write(_:to:)`` left behind.
    func removeTemporaryFiles() throws(PluginStoreError) -> [String] {
        let left = try names().filter { $0.hasPrefix(Self.temporaryPrefix) }
        for name in left { try remove(name) }
        return left
    }

    // MARK: Steps

    private static func create(_ path: String) throws(PluginStoreError) {
        if mkdir(path, 0o700) == 0 || errno == EEXIST { return }
        let parent = (path as NSString).deletingLastPathComponent
        guard errno == ENOENT, !parent.isEmpty, parent != path else { throw failure("creating", path) }
        try create(parent)
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw failure("creating", path) }
    }

    /// A link of another user would have us take over, or write to, whatever directory of ours they choose.
    private static func checkLink(_ path: String) throws(PluginStoreError) {
        var status = stat()
        // With a slash behind it the link would be followed.
        let name = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard lstat(name, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw .unsafeDirectory(
                path: path,
                problem: "it is a symbolic link of user \(status.st_uid), and only root's and those of user "
                    + "\(geteuid()), whom this runs as, are followed; make the link as one of these")
        }
    }

    private func tighten() throws(PluginStoreError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure("looking at", path) }
        guard status.st_uid == geteuid() else {
            throw .unsafeDirectory(
                path: path,
                problem: "it belongs to user \(status.st_uid) and this runs as user \(geteuid()); run it as that user "
                    + "or give the directory to this one")
        }
        if status.st_mode & 0o022 != 0, try !names().isEmpty {
            throw .unsafeDirectory(
                path: path,
                problem: "others can write to it, so its files may be theirs; empty it and set its mode to 0700")
        }
        guard status.st_mode & 0o077 == 0 || fchmod(descriptor, 0o700) == 0 else {
            throw Self.failure("setting the mode of", path)
        }
    }

    private func writeAll(_ bytes: [UInt8], to file: Int32, name: String) throws(PluginStoreError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Foundation.write(file, buffer.baseAddress! + written, buffer.count - written)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Self.failure("writing", path(of: name)) }
            written += count
        }
    }

    private static func randomName() throws(PluginStoreError) -> String {
        do {
            return try SecureRandom.bytes(8).map { String($0, radix: 16) }.joined()
        } catch {
            throw .disk(operation: "naming a file in", path: "", problem: error.message)
        }
    }
}

extension StoreDirectory {
    /// All bytes of an open regular file, and the identity that it had before and after.
    /// - Parameter mustBeOurs: refuses a file that another user owns or could write to.
    static func read(
        _ file: Int32, path: String, limit: Int, mustBeOurs: Bool
    ) throws(PluginStoreError) -> (bytes: [UInt8], identity: FileVersion) {
        var status = stat()
        guard fstat(file, &status) == 0 else { throw failure("looking at", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .unsafeFile(path: path, problem: "it is no regular file")
        }
        if mustBeOurs && (status.st_uid != geteuid() || status.st_mode & 0o022 != 0) {
            throw .unsafeFile(path: path, problem: "another user owns it or can write to it")
        }
        // Whoever only sets its mode or owner meanwhile, such as a backup that puts it back, harms nothing.
        for _ in 0..<readAttempts {
            guard Int64(status.st_size) <= Int64(limit) else { throw .fileTooLarge(path: path, limit: limit) }
            let identity = FileVersion(status)
            let bytes = try readAll(file, path: path, size: Int(status.st_size))
            guard fstat(file, &status) == 0, lseek(file, 0, SEEK_SET) == 0 else { throw failure("looking at", path) }
            if FileVersion(status) == identity, bytes.count == Int(identity.size) { return (bytes, identity) }
        }
        throw .unsafeFile(path: path, problem: "it changed while it was read")
    }

    private static let readAttempts = 10

    static func failure(_ operation: String, _ path: String) -> PluginStoreError {
        .disk(operation: operation, path: path, problem: String(cString: strerror(errno)))
    }

    private static func readAll(_ file: Int32, path: String, size: Int) throws(PluginStoreError) -> [UInt8] {
        // One byte more, so that growth shows.
        var bytes = [UInt8](repeating: 0, count: size + 1)
        var total = 0
        while total < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                Foundation.read(file, buffer.baseAddress! + total, buffer.count - total)
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failure("reading", path) }
            if count == 0 { break }
            total += count
        }
        bytes.removeLast(bytes.count - total)
        return bytes
    }
}
