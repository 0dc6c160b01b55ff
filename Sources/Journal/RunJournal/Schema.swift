import Foundation
import GRDB

/// The tables of the journal. A table once shipped is changed by a further migration only.
enum Schema {
    /// Entries of the outbox: the first pending one of its task, one that waits behind it, or a dead letter.
    enum OutboxState {
        static let ready = 0
        static let waiting = 1
        static let dead = 2
    }

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            // Times are milliseconds since 1970. The wide columns come last, so that lists don't read them, and are
            // the UTF-8 bytes of texts, because what a plugin prints may hold U+0000, which ends a TEXT here.
            try db.execute(
                sql: """
                    CREATE TABLE run (
                        id TEXT NOT NULL UNIQUE,
                        task_id TEXT NOT NULL,
                        one_off INTEGER NOT NULL,
                        command TEXT NOT NULL,
                        plugin_id TEXT,
                        function TEXT,
                        isolation TEXT,
                        scheduled_for INTEGER,
                        started_at INTEGER NOT NULL,
                        status TEXT,
                        finished_at INTEGER,
                        duration_ms REAL,
                        settled_at INTEGER,
                        discarded INTEGER NOT NULL DEFAULT 0,
                        agent_version TEXT,
                        error_code TEXT,
                        error_type TEXT,
                        error_message BLOB,
                        error_traceback BLOB,
                        data BLOB,
                        stdout BLOB,
                        stderr BLOB
                    );
                    CREATE INDEX run_task ON run(task_id, id);
                    CREATE INDEX run_unfinished ON run(id) WHERE status IS NULL;
                    CREATE INDEX run_settled ON run(settled_at) WHERE settled_at IS NOT NULL;
                    CREATE TABLE one_off_task (
                        task_id TEXT NOT NULL PRIMARY KEY,
                        run_id TEXT NOT NULL
                    ) WITHOUT ROWID;
                    CREATE TABLE schedule (
                        task_id TEXT NOT NULL PRIMARY KEY,
                        last_fire INTEGER NOT NULL
                    ) WITHOUT ROWID;
                    CREATE TABLE outbox (
                        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                        run_id TEXT NOT NULL UNIQUE,
                        task_id TEXT NOT NULL,
                        state INTEGER NOT NULL,
                        size INTEGER NOT NULL,
                        queued_at INTEGER NOT NULL,
                        attempts INTEGER NOT NULL DEFAULT 0,
                        next_attempt INTEGER NOT NULL DEFAULT 0,
                        attempted_at INTEGER,
                        reason TEXT
                    );
                    CREATE INDEX outbox_ready ON outbox(next_attempt, sequence) WHERE state = 0;
                    CREATE INDEX outbox_task ON outbox(task_id, sequence) WHERE state < 2;
                    """)
        }
        migrator.registerMigration("2") { db in
            try db.execute(
                sql: """
                    CREATE TABLE snapshot (
                        name TEXT NOT NULL PRIMARY KEY,
                        value TEXT NOT NULL,
                        written_at INTEGER NOT NULL
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("3") { db in
            try db.execute(
                sql: """
                    CREATE TABLE plugin_crash (
                        plugin_id TEXT NOT NULL PRIMARY KEY,
                        script_hash TEXT NOT NULL,
                        count INTEGER NOT NULL,
                        last_crash INTEGER NOT NULL,
                        cause TEXT NOT NULL,
                        session TEXT NOT NULL
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("4") { db in
            // What a damaged journal became this one by; at most one row.
            try db.execute(
                sql: """
                    CREATE TABLE recovery (
                        set_aside TEXT NOT NULL,
                        problem TEXT NOT NULL,
                        recovered_rows TEXT NOT NULL,
                        complete INTEGER NOT NULL,
                        reported INTEGER NOT NULL DEFAULT 0
                    );
                    """)
        }
        registerCrashesByFunction(&migrator)
        migrator.registerMigration("rejected runs") { db in
            // Whether a task was rejected before is asked for each that is, however often it has run.
            try db.execute(sql: "CREATE INDEX run_rejected ON run(task_id) WHERE status = 'rejected'")
        }
        migrator.registerMigration("where a run was before it was stopped") { db in
            try db.execute(sql: "ALTER TABLE run ADD COLUMN python_stack BLOB")
        }
        return migrator
    }

    /// Crashes are counted by method, so that a success of another one doesn't end the row.
    private static func registerCrashesByFunction(_ migrator: inout DatabaseMigrator) {
        migrator.registerMigration("crashes by function") { db in
            // The function is empty where the plugin was being loaded or shut down.
            try db.execute(
                sql: """
                    ALTER TABLE plugin_crash RENAME TO plugin_crash_before;
                    CREATE TABLE plugin_crash (
                        plugin_id TEXT NOT NULL,
                        function TEXT NOT NULL DEFAULT '',
                        script_hash TEXT NOT NULL,
                        count INTEGER NOT NULL,
                        last_crash INTEGER NOT NULL,
                        cause TEXT NOT NULL,
                        session TEXT NOT NULL,
                        PRIMARY KEY (plugin_id, function)
                    ) WITHOUT ROWID;
                    INSERT INTO plugin_crash
                        SELECT plugin_id, '', script_hash, count, last_crash, cause, session FROM plugin_crash_before;
                    DROP TABLE plugin_crash_before;
                    """)
        }
    }
}

extension String {
    /// As the wide columns of `run` keep texts.
    var bytes: Data { Data(utf8) }
}

extension Row {
    /// The text in a wide column of `run`.
    func text(_ column: String) -> String? {
        (self[column] as Data?).map { String(decoding: $0, as: UTF8.self) }
    }
    func text(at index: Int) -> String? {
        (self[index] as Data?).map { String(decoding: $0, as: UTF8.self) }
    }
}

extension Date {
    /// Milliseconds since 1970, as the journal keeps times. A time beyond the year 9999 is kept as that.
    var milliseconds: Int64 {
        Int64((min(max(timeIntervalSince1970, -62_135_596_800), 253_402_300_799) * 1000).rounded())
    }

    init(milliseconds: Int64) { self.init(timeIntervalSince1970: Double(milliseconds) / 1000) }
}
