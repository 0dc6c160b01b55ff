import Foundation
import GRDB

/// Logins with a device code, of which the code itself is kept as a hash only.
extension SQLiteTransaction {
    func login(userCode: UserCode) throws -> StoredLogin? {
        try row("SELECT * FROM device_login WHERE user_code = ?", [userCode.letters]).flatMap(Self.login(from:))
    }

    func login(deviceCode hash: String, clientID: String) throws -> StoredLogin? {
        try row("SELECT * FROM device_login WHERE device_code = ? AND client_id = ?", [hash, clientID])
            .flatMap(Self.login(from:))
    }

    func liveLogins(at now: Date, _ page: PageRequest) throws -> Page<StoredLogin> {
        try self.page(
            """
            SELECT * FROM device_login WHERE sequence > ? AND expires_at > ? AND state IN ('pending', 'approved')
            ORDER BY sequence LIMIT ?
            """, [page.cursor ?? 0, now], limit: page.limit
        ) { row in
            guard let login = Self.login(from: row) else {
                throw DatabaseError(message: "the user code of a login is damaged: \(row["user_code"] as String)")
            }
            return login
        }
    }

    func logins(ofNetwork network: String, since time: Date) throws -> (count: Int, first: Date?) {
        let row = try row(
            "SELECT COUNT(*) AS count, MIN(created_at) AS first FROM device_login WHERE network = ? AND created_at > ?",
            [network, time])
        return (row?["count"] ?? 0, row?["first"])
    }

    func pendingLoginCount(at now: Date) throws -> Int {
        try Int.fetchOne(
            database, sql: "SELECT COUNT(*) FROM device_login WHERE state = 'pending' AND expires_at > ?",
            arguments: [now]) ?? 0
    }

    func networkWithMostPendingLogins(at now: Date) throws -> String? {
        try String.fetchOne(
            database,
            sql: """
                SELECT network FROM device_login WHERE state = 'pending' AND expires_at > ?
                GROUP BY network ORDER BY COUNT(*) DESC, MIN(sequence) LIMIT 1
                """, arguments: [now])
    }

    func insert(_ login: StoredLogin, deviceCode: String) throws {
        try execute(
            """
            INSERT INTO device_login (device_code, user_code, client_id, scope, address, network, state, agent_id,
                interval, polled_at, created_at, expires_at, host_name)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            [
                deviceCode, login.code.letters, login.login.clientID, login.login.scope, login.login.address,
                login.network, login.login.state.rawValue, login.login.agentID, login.interval, login.polledAt,
                login.login.createdAt, login.login.expiresAt, login.login.hostName,
            ])
    }

    func setState(_ state: DeviceLogin.State, agentID: String?, ofLogin userCode: UserCode) throws {
        try execute(
            "UPDATE device_login SET state = ?, agent_id = ? WHERE user_code = ?",
            [state.rawValue, agentID, userCode.letters])
    }

    func notePoll(ofLogin userCode: UserCode, at now: Date, interval: Int) throws {
        try execute(
            "UPDATE device_login SET polled_at = ?, interval = ? WHERE user_code = ?",
            [now, interval, userCode.letters])
    }

    func denyApprovedLogins(ofAgent agentID: String) throws {
        try execute(
            "UPDATE device_login SET state = 'denied' WHERE agent_id = ? AND state = 'approved'", [agentID])
    }

    func deleteOldestPendingLogin(ofNetwork network: String, at now: Date) throws {
        try execute(
            """
            DELETE FROM device_login WHERE sequence = (
                SELECT MIN(sequence) FROM device_login WHERE network = ? AND state = 'pending' AND expires_at > ?)
            """, [network, now])
    }

    func deleteLogins(expiredBefore time: Date) throws {
        try execute("DELETE FROM device_login WHERE expires_at <= ?", [time])
    }

    private static func login(from row: Row) -> StoredLogin? {
        guard let code = UserCode(typed: row["user_code"]) else { return nil }
        let state: String = row["state"]
        return StoredLogin(
            login: DeviceLogin(
                userCode: code.description, clientID: row["client_id"], scope: row["scope"], address: row["address"],
                state: DeviceLogin.State(rawValue: state) ?? .denied, agentID: row["agent_id"],
                createdAt: row["created_at"], expiresAt: row["expires_at"], hostName: row["host_name"]),
            code: code, network: row["network"], interval: row["interval"], polledAt: row["polled_at"])
    }
}
