import Files

/// Which files on disk a database is, to notice that they were deleted or replaced while they are open.
struct OpenFiles: Sendable {
    private let database: String
    private let files: [(path: String, identity: FileIdentity)]

    /// The database's own file and its write-ahead log, as they are now.
    init(ofDatabase path: String) {
        database = path
        files = [path, path + "-wal"].compactMap { path in FileIdentity(ofFile: path).map { (path, $0) } }
    }

    /// Two calls of stat(2), some microseconds.
    /// - Throws: `ReferenceBackendError.storageGone`.
    func check() throws(ReferenceBackendError) {
        for file in files where FileIdentity(ofFile: file.path) != file.identity {
            throw .storageGone(path: database)
        }
    }
}
