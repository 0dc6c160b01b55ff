import AgentModel
public import Foundation
import GRDB

/// Copies of a backend's database, and how they come back. What is here blocks.
public enum DatabaseBackup {
    /// Copies the database of a data folder into a file, also while a server uses it: what the copy has is what was
    /// committed when it began.
    /// - Parameters:
    ///   - file: Gets mode 0600.
    ///   - replaces: Whether a file that is there is replaced.
    /// - Throws: `ReferenceBackendError.notInitialized`, `.backupExists`, `.backup`.
    public static func make(
        of dataFolder: URL, into file: URL, replaces: Bool = false
    ) throws(ReferenceBackendError) {
        let source = dataFolder.appending(path: SQLiteStorage.fileName)
        guard SQLiteStorage.isDatabase(source) else { throw .notInitialized(folder: dataFolder.path) }
        if !replaces, FileManager.default.fileExists(atPath: file.path) { throw .backupExists(file: file.path) }
        let partial = URL(filePath: file.path + ".partial")
        do {
            try copy(source, to: partial) { copy in
                // One file that needs none beside it, and can be read where nothing can be written.
                try copy.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = DELETE") }
            }
            try putInPlace(partial, at: file)
        } catch {
            try? FileManager.default.removeItem(at: partial)
            throw .backup(file: file.path, problem: "\(error)")
        }
    }

    /// Makes a copy the database of a data folder. Of logins it is noted that agents may have newer tokens than it knows.
    /// - Parameters:
    ///   - replaces: Whether a database that is there is replaced; it is kept beside the new one, with `.replaced` at the
    ///     end of its name.
    /// - Throws: `ReferenceBackendError.folderInUse` where a server runs, `.alreadyInitialized`, `.laterVersion`,
    ///   `.backup`, `.storage`.
    public static func restore(
        _ file: URL, into dataFolder: URL, replaces: Bool = false, now: Date = Date()
    ) throws(ReferenceBackendError) {
        try check(file)
        try SQLiteStorage.prepareFolder(dataFolder)
        let lock = try FolderLock(folder: dataFolder)
        defer { lock.release() }
        let target = dataFolder.appending(path: SQLiteStorage.fileName)
        let exists = SQLiteStorage.isDatabase(target)
        if exists, !replaces { throw .alreadyInitialized(folder: dataFolder.path) }
        let partial = URL(filePath: target.path + ".partial")
        do {
            try copy(file, to: partial) { copy in try noteRestoration(at: now, in: copy) }
            if exists { try setAside(target) }
            try putInPlace(partial, at: target)
        } catch {
            try? FileManager.default.removeItem(at: partial)
            throw .backup(file: file.path, problem: "\(error)")
        }
    }

    /// Copies a whole database, changes the copy and looks through it.
    private static func copy(_ source: URL, to target: URL, change: (DatabaseQueue) throws -> Void) throws {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: target.path + suffix)
        }
        let descriptor = open(target.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        close(descriptor)
        var configuration = Configuration()
        configuration.busyMode = .timeout(10)
        let copy = try DatabaseQueue(path: target.path, configuration: configuration)
        configuration.readonly = true
        let original = try DatabaseQueue(path: source.path, configuration: configuration)
        // All pages in one step: within it the original is as it was at its beginning, and nobody waits.
        try original.backup(to: copy)
        try original.close()
        try change(copy)
        try copy.read { database in
            let verdict = try String.fetchOne(database, sql: "PRAGMA quick_check(1)")
            guard verdict == "ok" else { throw DatabaseError(message: "it is damaged: \(verdict ?? "no answer")") }
        }
        try copy.close()
    }

    /// - Throws: `ReferenceBackendError.backup` for what is no backend's database, `.laterVersion`.
    private static func check(_ file: URL) throws(ReferenceBackendError) {
        let isLater: Bool
        do {
            guard SQLiteStorage.isDatabase(file) else { throw POSIXError(.ENOENT) }
            var configuration = Configuration()
            configuration.readonly = true
            let database = try DatabaseQueue(path: file.path, configuration: configuration)
            isLater = try database.read { database in
                guard try database.tableExists("administration_token"), try database.tableExists("token_family") else {
                    throw DatabaseError(message: "it is not the database of a backend")
                }
                return try SQLiteStorage.migrator.hasBeenSuperseded(database)
            }
            try database.close()
        } catch {
            throw .backup(file: file.path, problem: "\(error)")
        }
        if isLater { throw .laterVersion(path: file.path) }
    }

    private static func noteRestoration(at now: Date, in copy: DatabaseQueue) throws {
        try SQLiteStorage.migrator.migrate(copy)
        try copy.write { database in
            try database.execute(sql: "UPDATE token_family SET restored_at = ?", arguments: [now])
            try database.execute(sql: "DELETE FROM administration_session")
        }
    }

    /// Keeps a database, with what is in its write-ahead log, under another name.
    private static func setAside(_ database: URL) throws {
        for suffix in ["-shm", "-wal", ""] {
            let old = database.path + suffix
            let kept = database.path + ".replaced" + suffix
            try? FileManager.default.removeItem(atPath: kept)
            guard suffix != "-shm" else {
                try? FileManager.default.removeItem(atPath: old)
                continue
            }
            if rename(old, kept) != 0, errno != ENOENT {
                throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
            }
        }
    }

    /// Renames a file whose content is on disk.
    private static func putInPlace(_ file: URL, at target: URL) throws {
        try sync(file.path, O_RDWR)
        guard rename(file.path, target.path) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        try sync(target.deletingLastPathComponent().path, O_RDONLY | O_DIRECTORY)
    }

    private static func sync(_ path: String, _ flags: Int32) throws {
        let descriptor = open(path, flags | O_CLOEXEC)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }
}
