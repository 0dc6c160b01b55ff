import AgentModel
import Foundation
import GRDB

/// Whether opening a data folder may make a database.
public enum DatabaseCreation: Sendable {
    /// The database must be there already. An empty backend in place of the right one would end every login.
    case never
    /// A database that is there already is an error.
    case onlyNew
    case ifMissing
}

/// The storage in an SQLite database: where it is, who may read it, how it is opened and closed.
struct SQLiteStorage: Storage {
    static let fileName = "backend.sqlite"

    private let pool: DatabasePool
    /// Whether opening made it.
    let isNew: Bool
    private let files: OpenFiles
    /// Held for as long as this value is used; nil for a command that works beside a server.
    private let lock: FolderLock?

    /// Opens the database and brings its tables up to date. Blocks.
    /// - Parameter exclusively: Takes the folder's lock, which one server has.
    /// - Throws: `ReferenceBackendError.notInitialized`, `.alreadyInitialized`, `.folderInUse`, `.laterVersion`,
    ///   `.storage`.
    static func open(
        in folder: URL, creation: DatabaseCreation, exclusively: Bool
    ) throws(ReferenceBackendError) -> SQLiteStorage {
        let file = folder.appending(path: fileName)
        let exists = isDatabase(file)
        switch creation {
        case .never where !exists: throw .notInitialized(folder: folder.path)
        case .onlyNew where exists: throw .alreadyInitialized(folder: folder.path)
        default: break
        }
        try prepareFolder(folder)
        let lock = exclusively ? try FolderLock(folder: folder) : nil
        try prepareFile(file, mayCreate: creation != .never)
        let pool = try openPool(file)
        do {
            if try pool.read(migrator.hasBeenSuperseded) {
                throw ReferenceBackendError.laterVersion(path: file.path)
            }
            if try !pool.read(migrator.hasCompletedMigrations) {
                // A server of an earlier version must not find other tables from one request to the next.
                let held = try lock ?? FolderLock(folder: folder)
                try withExtendedLifetime(held) { try migrator.migrate(pool) }
            }
        } catch let error as ReferenceBackendError {
            try? pool.close()
            throw error
        } catch {
            try? pool.close()
            throw .storage(path: file.path, problem: "\(error)")
        }
        return SQLiteStorage(pool: pool, isNew: !exists, files: OpenFiles(ofDatabase: file.path), lock: lock)
    }

    func read<T: Sendable>(_ body: @escaping @Sendable (any StorageReader) throws -> T) async throws -> T {
        try await pool.read { try body(SQLiteTransaction(database: $0)) }
    }

    /// - Throws: `ReferenceBackendError.storageGone` where the files on disk are no longer those that are open: what is
    ///   written to a deleted file must not be called stored.
    func write<T: Sendable>(_ body: @escaping @Sendable (any StorageWriter) throws -> T) async throws -> T {
        let value = try await pool.write { database in
            let value = try body(SQLiteTransaction(database: database))
            try files.check()
            return value
        }
        // The commit may have gone to files that were deleted meanwhile.
        try files.check()
        return value
    }

    func check() throws(ReferenceBackendError) { try files.check() }

    /// Moves what is in the write-ahead log into the database's own file, so that this file alone is the whole. Blocks.
    func settle() throws -> Bool {
        try pool.writeWithoutTransaction { database in
            let row = try Row.fetchOne(database, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
            return row?["busy"] == 0
        }
    }

    func close() throws {
        try pool.close()
        lock?.release()
    }

    func discard() throws {
        try pool.close()
        for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: pool.path + suffix) }
        lock?.release()
    }

    /// Whether there is a database, and not only the empty file that a creation left which was cut off.
    static func isDatabase(_ file: URL) -> Bool {
        let attributes = try? FileManager.default.attributesOfItem(atPath: file.path)
        return attributes?[.size] as? Int ?? 0 > 0
    }

    private static func openPool(_ file: URL) throws(ReferenceBackendError) -> DatabasePool {
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(10)
            configuration.label = "backend"
            let pool = try DatabasePool(path: file.path, configuration: configuration)
            // After opening, because GRDB sets NORMAL while it turns WAL on. An answer of 201 promises that a power
            // cut can't take the run away again.
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            return pool
        } catch {
            throw .storage(path: file.path, problem: "\(error)")
        }
    }

    /// Makes the folder where it is missing, and closes it to others.
    static func prepareFolder(_ folder: URL) throws(ReferenceBackendError) {
        let files = FileManager.default
        do {
            guard files.fileExists(atPath: folder.path) else {
                try files.createDirectory(
                    at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
                return
            }
            let mode = try files.attributesOfItem(atPath: folder.path)[.posixPermissions] as? Int ?? 0
            if mode & 0o077 == 0 { return }
            let content = try files.contentsOfDirectory(atPath: folder.path)
            // A folder that holds other things isn't ours to close.
            guard content.isEmpty || content.contains(fileName) else {
                throw ReferenceBackendError.storage(
                    path: folder.path,
                    problem: "others can open this folder and it holds other files; choose a folder of its own, or "
                        + "run chmod 700 on it")
            }
            try files.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder.path)
        } catch let error as ReferenceBackendError {
            throw error
        } catch {
            throw .storage(path: folder.path, problem: error.localizedDescription)
        }
    }

    /// Makes the file before SQLite does, so that it never has a wider mode; SQLite gives the same one to the files
    /// beside it.
    private static func prepareFile(_ file: URL, mayCreate: Bool) throws(ReferenceBackendError) {
        let creation = mayCreate ? O_CREAT : 0
        let descriptor = Foundation.open(file.path, O_RDWR | creation | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .storage(path: file.path, problem: String(cString: strerror(errno))) }
        defer { Foundation.close(descriptor) }
        guard fchmod(descriptor, 0o600) == 0 else {
            throw .storage(path: file.path, problem: String(cString: strerror(errno)))
        }
    }
}
