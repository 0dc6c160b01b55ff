import Foundation
import GRDB

/// The SQLite database in the data folder: where it is, who may read it, and how it is opened.
enum BackendDatabase {
    static let fileName = "backend.sqlite"

    /// Opens the database, making folder and file where they aren't there, and brings its tables up to date. Blocks.
    /// - Throws: `ReferenceBackendError.storage`.
    static func openPool(in folder: URL) throws(ReferenceBackendError) -> DatabasePool {
        try prepareFolder(folder)
        let file = folder.appending(path: fileName)
        try prepareFile(file)
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(10)
            configuration.label = "backend"
            let pool = try DatabasePool(path: file.path, configuration: configuration)
            // After opening, because GRDB sets NORMAL while it turns WAL on. An answer of 201 promises that a power
            // cut can't take the run away again.
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            try migrator.migrate(pool)
            return pool
        } catch {
            throw .storage(path: file.path, problem: "\(error)")
        }
    }

    private static func prepareFolder(_ folder: URL) throws(ReferenceBackendError) {
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
    private static func prepareFile(_ file: URL) throws(ReferenceBackendError) {
        let descriptor = open(file.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .storage(path: file.path, problem: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        guard fchmod(descriptor, 0o600) == 0 else {
            throw .storage(path: file.path, problem: String(cString: strerror(errno)))
        }
    }
}
