import GRDB

extension BackendDatabase {
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
        return migrator
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
