import Foundation
import GRDB
import Glibc

/// The files of a journal in its state directory, and how they are opened, made and put aside.
struct JournalFile {
    let directory: String

    var path: String { directory + "/journal.sqlite" }
    /// A new database on its way to becoming `path`; worth nothing after a crash.
    private var unfinishedPath: String { path + ".new" }
    /// What was salvaged from a damaged database, complete; a crash may leave it without a `path`.
    private var recoveredPath: String { path + ".recovered" }

    /// Makes the directory where it isn't there, and closes it to everybody else.
    func prepareDirectory() throws(RunJournalError) {
        // Component by component, because Foundation's errors don't tell what the system said.
        let absolute = URL(fileURLWithPath: directory).path
        for end in absolute.indices.dropFirst() where absolute[end] == "/" { mkdir(String(absolute[..<end]), 0o700) }
        guard mkdir(absolute, 0o700) == 0 || errno == EEXIST else { throw .system("mkdir", path: directory) }
        var status = stat()
        guard stat(directory, &status) == 0 else { throw .system("stat", path: directory) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .io(path: directory, problem: "it is not a folder") }
        guard status.st_uid == geteuid() else {
            throw .io(
                path: directory,
                problem: "it belongs to the user with the id \(status.st_uid) and this runs as \(geteuid()); run it as "
                    + "that user or give the folder to this one")
        }
        guard status.st_mode & 0o077 != 0 else { return }
        guard chmod(directory, 0o700) == 0 else { throw .system("chmod", path: directory) }
    }

    /// Closes the database to everybody else. What has the name may have been put there by somebody else while the
    /// folder was open to them, or by whoever the folder belongs to.
    private func closeToOthers() throws(RunJournalError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        var (status, folder) = (stat(), stat())
        guard fstat(descriptor, &status) == 0, stat(directory, &folder) == 0 else { throw .system("stat", path: path) }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_nlink == 1,
            status.st_uid == geteuid() || status.st_uid == folder.st_uid
        else {
            throw .io(
                path: path,
                problem: "it is no file of this folder's alone: a link, or another user's; find out who did that")
        }
        guard status.st_mode & 0o077 == 0 || fchmod(descriptor, 0o600) == 0 else { throw .system("chmod", path: path) }
    }

    /// Opens the database, made or recovered where necessary.
    ///
    /// - Returns: whether there was none. What a recovery did is in the database (``RecoveryReport/Damage``).
    func open(now: Date) throws(RunJournalError) -> (pool: DatabasePool, isNew: Bool) {
        var isNew = false
        if !Self.exists(path) {
            // The log of a database that was moved away would be played into the one that takes its place.
            if Self.exists(path + "-wal") { try setAside(as: freeName(now: now)) }
            if Self.exists(recoveredPath) {
                try rename(recoveredPath, to: path)
            } else {
                try create(at: path) { _ in }
                isNew = true
            }
        }
        do {
            return (try openChecked(), isNew)
        } catch .corrupt(_, let problem) {
            try recover(problem: problem, now: now)
            return (try openChecked(), isNew)
        }
    }

    /// Opens the database for reading beside a running agent.
    func openForReading() throws(RunJournalError) -> DatabaseQueue {
        try requireFile()
        do {
            return try DatabaseQueue(path: path, configuration: Self.configuration(readOnly: true))
        } catch {
            throw RunJournalError(error, path: path)
        }
    }

    /// Opens the database as it is for writing beside a running agent.
    func openShared() throws(RunJournalError) -> DatabasePool {
        try requireFile()
        do {
            return try openPool()
        } catch {
            throw RunJournalError(error, path: path)
        }
    }

    /// Tells a journal that isn't there from one that this user may not see.
    private func requireFile() throws(RunJournalError) {
        var status = stat()
        guard lstat(path, &status) != 0 else { return }
        guard errno == ENOENT || errno == ENOTDIR else { throw .unreadable("lstat", path: path) }
        throw .missing(directory: directory)
    }

    private func openPool() throws -> DatabasePool {
        let pool = try DatabasePool(path: path, configuration: Self.configuration(readOnly: false))
        try pool.writeWithoutTransaction { db in
            // GRDB chooses NORMAL for a write-ahead log, which a power cut may take the last transactions from.
            // Pages are folded into the file a few at a time in many runs, or many at once in few: 16 MB.
            try db.execute(
                sql: """
                    PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216; PRAGMA wal_autocheckpoint = 4000
                    """)
            guard try !Schema.migrator.hasBeenSuperseded(db) else { throw RunJournalError.newer(path: path) }
        }
        try Schema.migrator.migrate(pool)
        return pool
    }

    private func openChecked() throws(RunJournalError) -> DatabasePool {
        do {
            var status = stat()
            guard stat(path, &status) == 0 else { throw RunJournalError.system("stat", path: path) }
            // A new journal gets its name when it is complete, so an empty one was cut off.
            guard status.st_size > 0 else { throw RunJournalError.corrupt(path: path, problem: "the file is empty") }
            try closeToOthers()
            // Read-only, so that a damaged file is set aside as it was found.
            let queue = try DatabaseQueue(path: path, configuration: Self.configuration(readOnly: true))
            let verdict = try queue.unsafeRead { db in try String.fetchOne(db, sql: "PRAGMA quick_check(1)") }
            try queue.close()
            guard verdict == "ok" else {
                throw RunJournalError.corrupt(path: path, problem: verdict ?? "no answer from the check")
            }
            return try openPool()
        } catch {
            throw RunJournalError(error, path: path)
        }
    }

    private func recover(problem: String, now: Date) throws(RunJournalError) {
        let name = freeName(now: now)
        // In this order a crash at any point leaves either the damaged database or the recovered one in place, which
        // says itself what it was made from.
        try create(at: recoveredPath) { db in
            var salvage = Salvage()
            try salvage.copy(from: path, into: db)
            try RecoveryReport.Damage(
                setAside: name, problem: problem, recoveredRows: salvage.rows, isComplete: salvage.isComplete
            ).write(db)
        }
        try setAside(as: name)
        try rename(recoveredPath, to: path)
    }

    private func create(at destination: String, filling: (Database) throws -> Void) throws(RunJournalError) {
        for suffix in ["", "-journal", "-wal", "-shm"] { unlink(unfinishedPath + suffix) }
        let descriptor = Glibc.open(unfinishedPath, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: unfinishedPath) }
        close(descriptor)
        do {
            let queue = try DatabaseQueue(path: unfinishedPath, configuration: Self.configuration(readOnly: false))
            try queue.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = FULL")
            }
            try Schema.migrator.migrate(queue)
            try queue.write(filling)
            try queue.close()
        } catch {
            throw RunJournalError(error, path: unfinishedPath)
        }
        try rename(unfinishedPath, to: destination)
    }

    /// A name that no damaged database has yet.
    private func freeName(now: Date) -> String {
        let stamp = now.formatted(
            .iso8601.year().month().day().dateSeparator(.omitted).time(includingFractionalSeconds: false).timeSeparator(
                .omitted))
        var target = "\(path).damaged-\(stamp)"
        var number = 1
        while Self.exists(target) || Self.exists(target + "-wal") {
            number += 1
            target = "\(path).damaged-\(stamp)-\(number)"
        }
        return target
    }

    private func setAside(as target: String) throws(RunJournalError) {
        if Self.exists(path) { try rename(path, to: target) }
        if Self.exists(path + "-wal") { try rename(path + "-wal", to: target + "-wal") }
        unlink(path + "-shm")
    }

    private func rename(_ source: String, to destination: String) throws(RunJournalError) {
        guard Glibc.rename(source, destination) == 0 else { throw .system("rename", path: source) }
        let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: directory) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system("fsync", path: directory) }
    }

    static func configuration(readOnly: Bool) -> Configuration {
        var configuration = Configuration()
        configuration.readonly = readOnly
        configuration.label = "journal"
        configuration.foreignKeysEnabled = false
        // A person's command may hold the write lock for the length of one small transaction.
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 2
        return configuration
    }

    private static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }
}
