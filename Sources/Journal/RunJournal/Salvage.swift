import GRDB

/// Copies what SQLite can still read of a damaged journal into a new one.
///
/// Each table is read from its beginning up to the first damaged page and from its end back to the last one.
struct Salvage {
    /// Rows copied, by table.
    private(set) var rows: [String: Int] = [:]
    /// Whether each table was read to its end.
    private(set) var isComplete = true

    /// Tables and the column they are read by, the most important first.
    private static let tables = [
        (name: "one_off_task", key: "task_id"),
        (name: "schedule", key: "task_id"),
        (name: "outbox", key: "sequence"),
        (name: "run", key: "rowid"),
    ]

    /// - Throws: what writing to `target` meets. Failing to read is no error.
    mutating func copy(from path: String, into target: Database) throws {
        var configuration = JournalFile.configuration(readOnly: true)
        // Without it SQLite reads no page of a file that is shorter than its header says.
        configuration.prepareDatabase { db in try db.execute(sql: "PRAGMA writable_schema = ON") }
        guard let source = try? DatabaseQueue(path: path, configuration: configuration) else {
            isComplete = false
            return
        }
        for table in Self.tables {
            if try !copy(table.name, orderedBy: table.key, from: source, into: target) { isComplete = false }
        }
        // Nothing that was promised depends on these, and an older journal has none.
        _ = try copy("plugin_crash", orderedBy: "plugin_id", from: source, into: target)
        // What an earlier recovery left open is still open.
        let wasComplete = try? source.unsafeRead { db in
            try Bool.fetchOne(db, sql: "SELECT MIN(complete) FROM recovery")
        }
        if wasComplete == false { isComplete = false }
        try reconcile(target)
    }

    private mutating func copy(
        _ table: String, orderedBy key: String, from source: DatabaseQueue, into target: Database
    ) throws -> Bool {
        var reachedEnd = false
        for direction in ["ASC", "DESC"] where !reachedEnd {
            let sql = "SELECT * FROM \(table) NOT INDEXED ORDER BY \(key) \(direction)"
            reachedEnd = try source.unsafeRead { db in
                guard let cursor = try? Row.fetchCursor(db, sql: sql) else { return false }
                while true {
                    let next: Row?
                    do { next = try cursor.next() } catch { return false }
                    guard let row = next else { return true }
                    try insert(row, into: table, of: target)
                }
            }
        }
        rows[table] = try Int.fetchOne(target, sql: "SELECT COUNT(*) FROM \(table)") ?? 0
        return reachedEnd
    }

    private mutating func insert(_ row: Row, into table: String, of target: Database) throws {
        let columns = row.columnNames.map { "\"\($0)\"" }.joined(separator: ", ")
        let places = row.columnNames.map { _ in "?" }.joined(separator: ", ")
        do {
            try target.cachedStatement(sql: "INSERT OR IGNORE INTO \(table) (\(columns)) VALUES (\(places))")
                .execute(arguments: StatementArguments(row.databaseValues))
        } catch let error as DatabaseError where error.resultCode == .SQLITE_MISMATCH {
            // A damaged page can hold a row of the wrong types.
            isComplete = false
        }
    }

    /// Makes the tables agree again where one was read further than another.
    private func reconcile(_ target: Database) throws {
        try target.execute(
            sql: """
                INSERT OR IGNORE INTO one_off_task (task_id, run_id) SELECT task_id, id FROM run WHERE one_off;
                DELETE FROM outbox WHERE run_id NOT IN (SELECT id FROM run WHERE status IS NOT NULL);
                INSERT OR IGNORE INTO outbox (run_id, task_id, state, size, queued_at)
                    SELECT id, task_id, \(Schema.OutboxState.waiting), \(OutboxSize.sql), finished_at FROM run
                    WHERE status IS NOT NULL AND settled_at IS NULL ORDER BY id;
                UPDATE outbox SET state = (sequence > (
                    SELECT MIN(sequence) FROM outbox AS other
                    WHERE other.task_id = outbox.task_id AND other.state < 2)) WHERE state < 2;
                """)
    }
}
