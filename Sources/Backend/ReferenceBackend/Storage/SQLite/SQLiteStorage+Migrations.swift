import GRDB

extension SQLiteStorage {
    /// Each step was released once it is in a commit: a change is a new step.
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: agents, plugins, tasks, runs") { database in
            try createAgents(in: database)
            try createPlugins(in: database)
            try createTasks(in: database)
            try createRuns(in: database)
            try database.execute(
                sql: """
                    CREATE TABLE administration_token (
                        id INTEGER PRIMARY KEY CHECK (id = 1),
                        sha512 TEXT NOT NULL,
                        created_at TEXT NOT NULL
                    )
                    """)
        }
        migrator.registerMigration("2: logins with a device code, tokens, sessions") { database in
            try createLogins(in: database)
        }
        migrator.registerMigration("3: what plugins ask of the sandbox") { database in
            try database.execute(sql: "ALTER TABLE plugin ADD COLUMN sandbox TEXT")
        }
        migrator.registerMigration("4: the backend's id") { database in
            try database.execute(
                sql: """
                    CREATE TABLE backend (
                        id INTEGER PRIMARY KEY CHECK (id = 1),
                        backend_id TEXT NOT NULL
                    );
                    """)
            try database.execute(
                sql: "INSERT INTO backend (id, backend_id) VALUES (1, ?)", arguments: [BackendService.newID()])
        }
        migrator.registerMigration("5: how much each agent has stored, and which tasks are done") { database in
            try countStorage(in: database)
        }
        migrator.registerMigration("6: what a lost answer and a restored backup need of tokens") { database in
            try describeTokens(in: database)
        }
        migrator.registerMigration("7: changes that commands made beside the server") { database in
            try database.execute(
                sql: """
                    CREATE TABLE unlogged_change (
                        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                        made_at TEXT NOT NULL,
                        by TEXT NOT NULL,
                        what TEXT NOT NULL
                    )
                    """)
        }
        migrator.registerMigration("8: what hosts that log in call themselves") { database in
            try database.execute(sql: "ALTER TABLE device_login ADD COLUMN host_name TEXT")
        }
        migrator.registerMigration("9: runs in progress, and which of them are to be stopped") { database in
            try createRunsInProgress(in: database)
        }
        migrator.registerMigration("10: where a run was before it was stopped") { database in
            try database.execute(sql: "ALTER TABLE run ADD COLUMN python_stack BLOB")
        }
        return migrator
    }

    // A cancel is there until its run has a result. One of a one-off task names no run.
    private static func createRunsInProgress(in database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE run_in_progress (
                    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
                    run_id TEXT NOT NULL,
                    task_id TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
                    started_at TEXT NOT NULL,
                    PRIMARY KEY (agent_id, run_id)
                );
                CREATE UNIQUE INDEX run_in_progress_by_task ON run_in_progress (task_id);
                CREATE TABLE cancel (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
                    task_id TEXT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
                    run_id TEXT,
                    by TEXT,
                    reason TEXT,
                    created_at TEXT NOT NULL
                );
                CREATE UNIQUE INDEX cancel_of_run ON cancel (agent_id, task_id, ifnull(run_id, ''));
                CREATE INDEX cancel_by_task ON cancel (task_id);
                """)
    }

    // `sequence` is the order of creation, and what a page's cursor holds.
    private static func createAgents(in database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE agent (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    id TEXT NOT NULL UNIQUE,
                    name TEXT,
                    team_id TEXT,
                    created_at TEXT NOT NULL,
                    last_seen_at TEXT
                );
                CREATE TABLE agent_address (
                    address TEXT PRIMARY KEY NOT NULL,
                    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE
                );
                CREATE INDEX agent_address_by_agent ON agent_address (agent_id);
                """)
    }

    private static func createPlugins(in database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE plugin (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    id TEXT NOT NULL UNIQUE,
                    name TEXT NOT NULL,
                    version TEXT NOT NULL,
                    description BLOB,
                    script BLOB NOT NULL,
                    hash TEXT NOT NULL,
                    commands TEXT NOT NULL,
                    signature TEXT,
                    key_id TEXT,
                    created_at TEXT NOT NULL
                );
                CREATE TABLE assignment (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
                    plugin_id TEXT NOT NULL REFERENCES plugin (id) ON DELETE CASCADE,
                    seeded INTEGER NOT NULL,
                    UNIQUE (agent_id, plugin_id)
                );
                """)
    }

    private static func createTasks(in database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE task (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    id TEXT NOT NULL UNIQUE,
                    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
                    command TEXT NOT NULL,
                    cron TEXT,
                    arguments BLOB NOT NULL,
                    enabled INTEGER NOT NULL,
                    seeded INTEGER NOT NULL,
                    created_at TEXT NOT NULL,
                    updated_at TEXT NOT NULL
                );
                CREATE INDEX task_by_agent ON task (agent_id);
                """)
    }

    // Runs refer to nothing by foreign key: they outlive the task and the agent that they are about.
    private static func createRuns(in database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE run (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    id TEXT NOT NULL UNIQUE,
                    agent_id TEXT NOT NULL,
                    task_id TEXT NOT NULL,
                    command TEXT NOT NULL,
                    run_id TEXT,
                    status TEXT,
                    data BLOB,
                    error_code BLOB,
                    error_type BLOB,
                    error_message BLOB,
                    error_traceback BLOB,
                    stdout BLOB,
                    stderr BLOB,
                    started_at TEXT,
                    finished_at TEXT,
                    duration_ms REAL,
                    scheduled_for TEXT,
                    isolation BLOB,
                    agent_version BLOB,
                    received_at TEXT NOT NULL
                );
                CREATE UNIQUE INDEX run_once ON run (agent_id, run_id) WHERE run_id IS NOT NULL;
                CREATE INDEX run_by_task ON run (task_id, agent_id);
                """)
    }

    // That a task is done stays with the task: a run can be deleted, and must not be run again for that.
    private static func countStorage(in database: Database) throws {
        let texts = [
            "data", "error_code", "error_type", "error_message", "error_traceback", "stdout", "stderr", "isolation",
            "agent_version",
        ]
        let size = texts.map { "ifnull(length(\($0)), 0)" }.joined(separator: " + ")
        try database.execute(
            sql: """
                ALTER TABLE run ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
                UPDATE run SET size = \(StoredRun.overhead) + \(size);
                CREATE INDEX run_by_time ON run (received_at);
                CREATE TABLE agent_storage (
                    agent_id TEXT PRIMARY KEY NOT NULL,
                    bytes INTEGER NOT NULL
                );
                INSERT INTO agent_storage (agent_id, bytes) SELECT agent_id, SUM(size) FROM run GROUP BY agent_id;
                CREATE TRIGGER run_takes_storage AFTER INSERT ON run BEGIN
                    INSERT INTO agent_storage (agent_id, bytes) VALUES (NEW.agent_id, NEW.size)
                    ON CONFLICT (agent_id) DO UPDATE SET bytes = bytes + excluded.bytes;
                END;
                CREATE TRIGGER run_frees_storage AFTER DELETE ON run BEGIN
                    UPDATE agent_storage SET bytes = bytes - OLD.size WHERE agent_id = OLD.agent_id;
                END;

                ALTER TABLE task ADD COLUMN done INTEGER NOT NULL DEFAULT 0;
                UPDATE task SET done = 1 WHERE EXISTS (
                    SELECT 1 FROM run WHERE run.task_id = task.id AND run.agent_id = task.agent_id);
                CREATE TRIGGER run_does_task AFTER INSERT ON run BEGIN
                    UPDATE task SET done = 1 WHERE id = NEW.task_id AND agent_id = NEW.agent_id AND NOT done;
                END;
                """)
    }

    // Tokens that were rotated before are taken as superseded: what became of their successors isn't known.
    private static func describeTokens(in database: Database) throws {
        try database.execute(
            sql: """
                ALTER TABLE token ADD COLUMN parent TEXT;
                ALTER TABLE token ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
                ALTER TABLE token ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0;
                UPDATE token SET superseded = 1 WHERE rotated;
                CREATE INDEX token_by_parent ON token (parent) WHERE parent IS NOT NULL;
                ALTER TABLE token_family ADD COLUMN secret_sha512 TEXT;
                ALTER TABLE token_family ADD COLUMN restored_at TEXT;
                CREATE UNIQUE INDEX token_family_by_secret ON token_family (secret_sha512)
                    WHERE secret_sha512 IS NOT NULL;
                """)
    }

    // Of codes and tokens that are secret, only the SHA-512 is here. An agent that goes takes its tokens along; its
    // login stays without an agent, which is then a refusal.
    private static func createLogins(in database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE device_login (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    device_code TEXT NOT NULL UNIQUE,
                    user_code TEXT NOT NULL UNIQUE,
                    client_id TEXT NOT NULL,
                    scope TEXT NOT NULL,
                    address TEXT NOT NULL,
                    network TEXT NOT NULL,
                    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
                    agent_id TEXT REFERENCES agent (id) ON DELETE SET NULL,
                    interval INTEGER NOT NULL,
                    polled_at TEXT,
                    created_at TEXT NOT NULL,
                    expires_at TEXT NOT NULL
                );
                CREATE INDEX device_login_by_network ON device_login (network, created_at);
                CREATE INDEX device_login_by_expiry ON device_login (expires_at);
                CREATE INDEX device_login_by_agent ON device_login (agent_id);
                CREATE TABLE token_family (
                    id INTEGER PRIMARY KEY AUTOINCREMENT,
                    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
                    client_id TEXT NOT NULL,
                    scope TEXT NOT NULL,
                    revoked INTEGER NOT NULL DEFAULT 0,
                    created_at TEXT NOT NULL
                );
                CREATE INDEX token_family_by_agent ON token_family (agent_id);
                CREATE TABLE token (
                    sha512 TEXT PRIMARY KEY NOT NULL,
                    family_id INTEGER NOT NULL REFERENCES token_family (id) ON DELETE CASCADE,
                    kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')),
                    rotated INTEGER NOT NULL DEFAULT 0,
                    expires_at TEXT NOT NULL
                );
                CREATE INDEX token_by_family ON token (family_id);
                CREATE INDEX token_by_expiry ON token (expires_at);
                CREATE TABLE administration_session (
                    sha512 TEXT PRIMARY KEY NOT NULL,
                    expires_at TEXT NOT NULL
                );
                """)
    }
}
