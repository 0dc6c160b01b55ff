import Foundation

/// Which files on disk a database is, to notice that they were deleted or replaced while they are open.
struct OpenFiles: Sendable {
    private struct File: Sendable {
        var path: String
        var device: dev_t
        var inode: ino_t
    }

    private let database: String
    private let files: [File]

    /// The database's own file and its write-ahead log, as they are now.
    init(ofDatabase path: String) {
        database = path
        files = [path, path + "-wal"].compactMap { path in
            Self.status(of: path).map { File(path: path, device: $0.st_dev, inode: $0.st_ino) }
        }
    }

    /// Two calls of stat(2), some microseconds.
    /// - Throws: `ReferenceBackendError.storageGone`.
    func check() throws(ReferenceBackendError) {
        for file in files {
            guard let status = Self.status(of: file.path), status.st_dev == file.device, status.st_ino == file.inode
            else { throw .storageGone(path: database) }
        }
    }

    private static func status(of path: String) -> stat? {
        var status = stat()
        return stat(path, &status) == 0 ? status : nil
    }
}
