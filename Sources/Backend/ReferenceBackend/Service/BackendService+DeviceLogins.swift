import AgentModel
import Cryptography
import Foundation
import GRDB

/// Logins with a device code, up to the decision (RFC 8628).
extension BackendService {
    /// Begins a login.
    /// - Parameters:
    ///   - address: Where the request came from.
    ///   - hostName: As the host calls itself, which nothing vouches for.
    /// - Throws: `OAuthError`.
    public func beginLogin(
        clientID: String, scope: String, address: String, hostName: String? = nil
    ) async throws -> DeviceAuthorization {
        try checkClient(clientID)
        let address = Self.canonical(address)
        let network = Self.network(of: address)
        let now = now()
        let deviceCode = try OpaqueToken.make(.deviceCode)
        let (lifetime, interval) = (login.codeLifetime, login.pollInterval)
        let userCode = try await database.write { [login] database -> UserCode in
            try Self.purgeLogins(at: now, in: database)
            try Self.checkRoom(for: network, login, at: now, in: database)
            let userCode = try Self.unusedUserCode(in: database)
            try database.execute(
                sql: """
                    INSERT INTO device_login (device_code, user_code, client_id, scope, address, network, state,
                        interval, created_at, expires_at, host_name)
                    VALUES (?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)
                    """,
                arguments: [
                    OpaqueToken.hash(deviceCode).hex, userCode.letters, clientID, scope, address, network, interval,
                    now, now.addingTimeInterval(TimeInterval(lifetime)), hostName,
                ])
            return userCode
        }
        return DeviceAuthorization(deviceCode: deviceCode, userCode: userCode, expiresIn: lifetime, interval: interval)
    }

    /// Logins that wait for a decision or for their host, the oldest first.
    public func deviceLogins(_ page: PageRequest = .first) async throws -> Page<DeviceLogin> {
        let now = now()
        return try await database.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM device_login
                    WHERE sequence > ? AND expires_at > ? AND state IN ('pending', 'approved')
                    ORDER BY sequence LIMIT ?
                    """, arguments: [page.cursor ?? 0, now, page.limit + 1])
            return Page(rows: rows, limit: page.limit) {
                $0["sequence"]
            } element: {
                Self.login(from: $0, at: now)
            }
        }
    }

    /// The login that a host shows a code for, while it can be decided on.
    /// - Parameter code: As it was typed.
    /// - Throws: `ReferenceBackendError.notFound`, `.notPending`.
    public func pendingLogin(_ code: String) async throws -> DeviceLogin {
        let now = now()
        return try await database.read { try Self.pendingLogin(code, at: now, in: $0) }
    }

    /// Lets the host in that shows a code.
    /// - Parameter code: As it was typed.
    /// - Returns: The agent that the host is from now on.
    /// - Throws: `ReferenceBackendError.notFound` for the code or the agent, `.notPending`, `.invalidField`.
    public func approveLogin(_ code: String, as choice: AgentChoice) async throws -> RegisteredAgent {
        let now = now()
        let name: String? =
            switch choice {
            case .new(let name), .existing(_, let name): name
            }
        if let name { try Self.checkText(name, field: "name") }
        return try await database.write { database in
            let login = try Self.pendingLogin(code, at: now, in: database)
            let id: String
            switch choice {
            case .new:
                id = Self.newID()
                try Self.insertAgent(id, at: now, in: database)
            case .existing(let existing, _):
                id = try Self.agent(existing, in: database).id
            }
            if let name {
                try database.execute(sql: "UPDATE agent SET name = ? WHERE id = ?", arguments: [name, id])
            }
            try Self.decide(login, "approved", agentID: id, in: database)
            return try Self.agent(id, in: database)
        }
    }

    /// Turns the host away that shows a code.
    /// - Throws: `ReferenceBackendError.notFound`, `.notPending`.
    @discardableResult
    public func denyLogin(_ code: String) async throws -> DeviceLogin {
        let now = now()
        return try await database.write { database in
            var login = try Self.pendingLogin(code, at: now, in: database)
            try Self.decide(login, "denied", agentID: nil, in: database)
            login.state = .denied
            return login
        }
    }

    func checkClient(_ clientID: String) throws(OAuthError) {
        guard login.clientIDs.isEmpty || login.clientIDs.contains(clientID) else {
            throw OAuthError(.invalidClient, "this backend does not know this client_id")
        }
    }

    /// What counts as one place when attempts are counted: an IPv4 address, or the first half of an IPv6 address, since
    /// whoever has one has all that begin with it (RFC 6177).
    static func network(of address: String) -> String {
        let address = canonical(address)
        var bytes = in6_addr()
        guard inet_pton(AF_INET6, address, &bytes) == 1 else { return address }
        return withUnsafeBytes(of: bytes) { buffer in
            buffer.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "/64"
        }
    }

    private static func pendingLogin(_ code: String, at now: Date, in database: Database) throws -> DeviceLogin {
        guard let userCode = UserCode(typed: code),
            let row = try Row.fetchOne(
                database, sql: "SELECT * FROM device_login WHERE user_code = ?", arguments: [userCode.letters])
        else { throw ReferenceBackendError.notFound(.device, id: code) }
        let login = login(from: row, at: now)
        guard login.state == .pending else {
            throw ReferenceBackendError.notPending(userCode: login.userCode, state: login.state)
        }
        return login
    }

    private static func decide(
        _ login: DeviceLogin, _ state: String, agentID: String?, in database: Database
    ) throws {
        try database.execute(
            sql: "UPDATE device_login SET state = ?, agent_id = ? WHERE user_code = ?",
            arguments: [state, agentID, UserCode(typed: login.userCode)?.letters])
    }

    private static func login(from row: Row, at now: Date) -> DeviceLogin {
        let letters: String = row["user_code"]
        let stored: String = row["state"]
        let expiresAt: Date = row["expires_at"]
        let state = DeviceLogin.State(rawValue: stored) ?? .denied
        return DeviceLogin(
            userCode: UserCode(typed: letters)?.description ?? letters, clientID: row["client_id"],
            scope: row["scope"], address: row["address"],
            state: state == .pending && expiresAt <= now ? .expired : state, agentID: row["agent_id"],
            createdAt: row["created_at"], expiresAt: expiresAt, hostName: row["host_name"])
    }

    // Among all that are kept and not only the live ones, so that a code never means two logins within the hour.
    private static func unusedUserCode(in database: Database) throws -> UserCode {
        while true {
            let code = try UserCode.make()
            let isTaken =
                try Row.fetchOne(
                    database, sql: "SELECT 1 FROM device_login WHERE user_code = ?", arguments: [code.letters]) != nil
            if !isTaken { return code }
        }
    }

    private static func checkRoom(
        for network: String, _ limits: LoginConfiguration, at now: Date, in database: Database
    ) throws {
        let since = now.addingTimeInterval(-TimeInterval(limits.codeLifetime))
        let ofNetwork = try Row.fetchOne(
            database,
            sql:
                "SELECT COUNT(*) AS count, MIN(created_at) AS first FROM device_login WHERE network = ? AND created_at > ?",
            arguments: [network, since])
        if let ofNetwork, ofNetwork["count"] >= limits.maximumCodesPerNetwork, let first: Date = ofNetwork["first"] {
            throw OAuthError(
                .temporarilyUnavailable, "this network asked for too many codes; try again later",
                retryAfter: max(1, Int(first.timeIntervalSince(since).rounded(.up))))
        }
        let live =
            try Int.fetchOne(
                database, sql: "SELECT COUNT(*) FROM device_login WHERE state = 'pending' AND expires_at > ?",
                arguments: [now]) ?? 0
        guard live >= limits.maximumLiveCodes else { return }
        // Room is made at the cost of who takes the most of it, so that nobody keeps all others out.
        let largest = try String.fetchOne(
            database,
            sql: """
                SELECT network FROM device_login WHERE state = 'pending' AND expires_at > ?
                GROUP BY network ORDER BY COUNT(*) DESC, MIN(sequence) LIMIT 1
                """, arguments: [now])
        guard let largest, largest != network else {
            throw OAuthError(
                .temporarilyUnavailable, "too many codes wait for a decision; try again later", retryAfter: 60)
        }
        try database.execute(
            sql: """
                DELETE FROM device_login WHERE sequence = (
                    SELECT MIN(sequence) FROM device_login WHERE network = ? AND state = 'pending' AND expires_at > ?)
                """, arguments: [largest, now])
    }

    // An hour longer than they are good for, so that a host that polls late is told that its code expired.
    private static func purgeLogins(at now: Date, in database: Database) throws {
        try database.execute(
            sql: "DELETE FROM device_login WHERE expires_at <= ?", arguments: [now.addingTimeInterval(-3600)])
    }
}
