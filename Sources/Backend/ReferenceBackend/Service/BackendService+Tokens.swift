import Cryptography
import Foundation
import GRDB

/// The tokens that agents show (RFC 6749, RFC 8628). What comes of one login is a family: each refresh replaces the
/// refresh token, and one that shows up although what replaced it is in use ends them all (RFC 9700, section 4.14.2).
extension BackendService {
    /// Exchanges the device code of an approved login for tokens, once (RFC 8628, section 3.4).
    /// - Throws: `OAuthError`.
    public func redeem(deviceCode: String, clientID: String) async throws -> IssuedTokens {
        try checkClient(clientID)
        let now = now()
        let hash = OpaqueToken.hash(deviceCode).hex
        let fresh = try FreshTokens()
        // Errors are returned and not thrown: what was noted of a poll that came too early must stay.
        let outcome = try await database.write { [login] database -> Result<IssuedTokens, OAuthError> in
            guard
                let row = try Row.fetchOne(
                    database, sql: "SELECT * FROM device_login WHERE device_code = ? AND client_id = ?",
                    arguments: [hash, clientID])
            else { return .failure(OAuthError(.invalidGrant, "this device_code is unknown to this client")) }
            switch row["state"] as String {
            case "denied": return .failure(OAuthError(.accessDenied, "an administrator denied this login"))
            case "used": return .failure(OAuthError(.invalidGrant, "this device_code was exchanged before"))
            // Approved at the last moment: its host polls once more after the end, and its agent is there already.
            case "approved" where now < (row["expires_at"] as Date).addingTimeInterval(Self.redemptionGrace): break
            case _ where (row["expires_at"] as Date) <= now:
                return .failure(OAuthError(.expiredToken, "this device_code expired; ask for a new one"))
            case "pending": return .failure(try Self.notePoll(row, at: now, in: database))
            default: break
            }
            guard let agentID: String = row["agent_id"] else {
                return .failure(OAuthError(.accessDenied, "the agent of this login was deleted"))
            }
            try Self.purgeTokens(at: now, in: database)
            try database.execute(
                sql: "UPDATE device_login SET state = 'used' WHERE sequence = ?", arguments: [row["sequence"] as Int64])
            try database.execute(
                sql: "INSERT INTO token_family (agent_id, client_id, scope, created_at) VALUES (?, ?, ?, ?)",
                arguments: [agentID, clientID, row["scope"] as String, now])
            return .success(
                try fresh.store(
                    family: database.lastInsertedRowID, after: nil, scope: row["scope"], login, at: now, in: database))
        }
        return try outcome.get()
    }

    /// Exchanges a refresh token for new tokens (RFC 6749, section 6).
    /// - Parameters:
    ///   - clientID: Nil where the request names none.
    ///   - scope: What is wanted of the login's scope; nil for all of it.
    /// - Throws: `OAuthError`.
    public func refresh(_ refreshToken: String, clientID: String?, scope: String? = nil) async throws -> IssuedTokens {
        if let clientID { try checkClient(clientID) }
        let now = now()
        let hash = OpaqueToken.hash(refreshToken).hex
        let fresh = try FreshTokens()
        // Returned and not thrown: the end of a family must stay.
        let outcome = try await database.write { [self] database -> Result<IssuedTokens, OAuthError> in
            let refused = OAuthError(.invalidGrant, "this refresh token is unknown, expired or revoked; log in again")
            if try Self.token(hash, kind: "refresh", in: database) == nil {
                try Self.takeUp(refreshToken, login, at: now, in: database)
            }
            guard let token = try Self.token(hash, kind: "refresh", in: database) else { return .failure(refused) }
            guard clientID == nil || clientID == token.clientID else {
                return .failure(OAuthError(.invalidGrant, "this refresh token was issued to another client"))
            }
            // Also where the request names none: that may be left out (RFC 6749, section 3.2.1).
            try checkClient(token.clientID)
            if token.isRevoked { return .failure(refused) }
            if token.isSuperseded || token.isRotated, try !Self.isSuccessorUnused(of: token, in: database) {
                try Self.revoke(family: token.family, in: database)
                return .failure(
                    OAuthError(
                        .invalidGrant, "this refresh token was used before, so its login has ended; log in again"))
            }
            if token.expiresAt <= now { return .failure(refused) }
            guard let granted = Self.granted(scope, of: token.scope) else {
                return .failure(OAuthError(.invalidScope, "the scope goes beyond that of the login"))
            }
            try Self.withdrawSuccessors(of: token, in: database)
            try database.execute(sql: "UPDATE token SET rotated = 1 WHERE sha512 = ?", arguments: [hash])
            try database.execute(
                sql: "UPDATE token_family SET restored_at = NULL WHERE id = ? AND restored_at IS NOT NULL",
                arguments: [token.family])
            try Self.purgeTokens(at: now, in: database)
            return .success(
                try fresh.store(
                    family: token.family, after: refreshToken, scope: granted, login, at: now, in: database))
        }
        return try outcome.get()
    }

    /// Ends a token: an access token alone, a refresh token with all that came of its login (RFC 7009, section 2.1).
    /// One that isn't known is ended already.
    /// - Throws: `OAuthError` when it was issued to another client than the one named.
    public func revoke(_ text: String, clientID: String?) async throws {
        if let clientID { try checkClient(clientID) }
        let hash = OpaqueToken.hash(text).hex
        try await database.write { [self] database in
            guard let token = try Self.token(hash, kind: nil, in: database) else { return }
            guard clientID == nil || clientID == token.clientID else {
                throw OAuthError(.invalidGrant, "this token was issued to another client")
            }
            try checkClient(token.clientID)
            if token.kind == "refresh" {
                try Self.revoke(family: token.family, in: database)
            } else {
                try database.execute(sql: "DELETE FROM token WHERE sha512 = ?", arguments: [hash])
            }
        }
    }

    /// Ends all logins of an agent.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func revokeTokens(ofAgent agentID: String) async throws {
        try await database.write { database in
            _ = try Self.agent(agentID, in: database)
            try database.execute(sql: "DELETE FROM token_family WHERE agent_id = ?", arguments: [agentID])
            try database.execute(
                sql: "UPDATE device_login SET state = 'denied' WHERE agent_id = ? AND state = 'approved'",
                arguments: [agentID])
        }
    }

    /// The agent that an access token was issued to; nil for a token that isn't good.
    public func agentID(ofAccessToken text: String) async throws -> String? {
        let now = now()
        let hash = OpaqueToken.hash(text).hex
        let found = try await database.read { database -> (token: StoredToken, lastSeenAt: Date?)? in
            guard let token = try Self.token(hash, kind: "access", in: database), !token.isRevoked,
                token.expiresAt > now
            else { return nil }
            return (token, try Self.agent(token.agentID, in: database).lastSeenAt)
        }
        guard let found else { return nil }
        let agentID = found.token.agentID
        if let parent = found.token.parent, !found.token.isUsed {
            try await database.write { database in
                // The refresh token that came with it as well: it outlives this one, and whoever has one has both.
                try database.execute(
                    sql: "UPDATE token SET used = 1 WHERE parent = ? AND NOT superseded", arguments: [parent])
            }
        }
        if Self.isWorthNoting(now, after: found.lastSeenAt) {
            try await database.write { database in
                try database.execute(
                    sql: "UPDATE agent SET last_seen_at = ? WHERE id = ?", arguments: [now, agentID])
            }
        }
        return agentID
    }

    /// How long after its end the code of an approved login can be exchanged, in seconds.
    private static let redemptionGrace: TimeInterval = 60

    /// Notes that a host polled, and says what it is told.
    private static func notePoll(_ row: Row, at now: Date, in database: Database) throws -> OAuthError {
        let interval: Int = row["interval"]
        var next = interval
        // A tenth is left to the network: a request may take longer to arrive than the one after it. A clock that was
        // set back makes nobody too fast.
        if let polledAt: Date = row["polled_at"], case let elapsed = now.timeIntervalSince(polledAt), elapsed >= 0,
            elapsed < 0.9 * TimeInterval(interval)
        {
            next += 5
        }
        try database.execute(
            sql: "UPDATE device_login SET polled_at = ?, interval = ? WHERE sequence = ?",
            arguments: [now, next, row["sequence"] as Int64])
        return next == interval
            ? OAuthError(.authorizationPending, "nobody has decided on this login yet")
            : OAuthError(.slowDown, "wait \(next) seconds between two polls from now on", interval: next)
    }

    /// Whether what replaced a refresh token was never used: then the answer that brought it was lost, and the agent
    /// asks again.
    ///
    /// A thief who is first is found out all the same: of two who have one token, one uses what it got, and then the
    /// other asks again.
    private static func isSuccessorUnused(of token: StoredToken, in database: Database) throws -> Bool {
        guard !token.isSuperseded else { return false }
        return try Row.fetchOne(
            database,
            sql: """
                SELECT 1 FROM token WHERE parent = ? AND kind = 'refresh' AND NOT superseded AND NOT used AND NOT rotated
                """, arguments: [token.hash]) != nil
    }

    /// Makes tokens that nobody has got bad: their use would mean that somebody has got them after all.
    private static func withdrawSuccessors(of token: StoredToken, in database: Database) throws {
        try database.execute(
            sql: "DELETE FROM token WHERE parent = ? AND kind = 'access'", arguments: [token.hash])
        try database.execute(
            sql: "UPDATE token SET rotated = 1, superseded = 1 WHERE parent = ? AND kind = 'refresh'",
            arguments: [token.hash])
    }

    /// Looks at a refresh token that isn't here, but names a login that is.
    ///
    /// After a backup was restored it is the newest one: what it replaced is in the backup and it is not. That is
    /// believed once of each login, and of the others that are not here either, the use ends the login. Otherwise it is
    /// one of those.
    private static func takeUp(
        _ refreshToken: String, _ login: LoginConfiguration, at now: Date, in database: Database
    ) throws {
        guard let secret = FreshTokens.familySecret(of: refreshToken),
            let family = try Row.fetchOne(
                database, sql: "SELECT id, restored_at FROM token_family WHERE secret_sha512 = ? AND NOT revoked",
                arguments: [OpaqueToken.hash(secret).hex])
        else { return }
        let id: Int64 = family["id"]
        let lifetime = TimeInterval(login.refreshTokenLifetime)
        guard let restoredAt: Date = family["restored_at"], now < restoredAt.addingTimeInterval(lifetime) else {
            return try revoke(family: id, in: database)
        }
        try database.execute(
            sql: "UPDATE token SET rotated = 1, superseded = 1 WHERE family_id = ? AND kind = 'refresh'",
            arguments: [id])
        try database.execute(
            sql: "INSERT INTO token (sha512, family_id, kind, expires_at) VALUES (?, ?, 'refresh', ?)",
            arguments: [OpaqueToken.hash(refreshToken).hex, id, now.addingTimeInterval(lifetime)])
    }

    private static func revoke(family: Int64, in database: Database) throws {
        try database.execute(sql: "UPDATE token_family SET revoked = 1 WHERE id = ?", arguments: [family])
    }

    // Refresh tokens that were rotated stay until they would have expired: until then their use means that one of two
    // holders is not who it should be.
    private static func purgeTokens(at now: Date, in database: Database) throws {
        try database.execute(sql: "DELETE FROM token WHERE expires_at <= ?", arguments: [now])
        if database.changesCount > 0 {
            try database.execute(
                sql: """
                    DELETE FROM token_family
                    WHERE NOT EXISTS (SELECT 1 FROM token WHERE token.family_id = token_family.id)
                    """)
        }
    }

    /// The part of a login's scope that is asked for; nil where it goes beyond.
    private static func granted(_ wanted: String?, of scope: String) -> String? {
        guard let wanted else { return scope }
        let known = Set(scope.split(separator: " "))
        return wanted.split(separator: " ").allSatisfy(known.contains) ? wanted : nil
    }

    private static func token(_ hash: String, kind: String?, in database: Database) throws -> StoredToken? {
        let row = try Row.fetchOne(
            database,
            sql: """
                SELECT token.*, token_family.agent_id, token_family.client_id, token_family.scope, token_family.revoked
                FROM token JOIN token_family ON token_family.id = token.family_id WHERE sha512 = ?
                """, arguments: [hash])
        guard let row, kind == nil || kind == row["kind"] else { return nil }
        return StoredToken(
            hash: hash, parent: row["parent"], family: row["family_id"], kind: row["kind"], agentID: row["agent_id"],
            clientID: row["client_id"],
            scope: row["scope"], isUsed: row["used"], isRotated: row["rotated"], isSuperseded: row["superseded"],
            isRevoked: row["revoked"], expiresAt: row["expires_at"])
    }
}

private struct StoredToken {
    var hash: String
    /// The hash of the refresh token that it came in place of.
    var parent: String?
    var family: Int64
    var kind: String
    var agentID: String
    var clientID: String
    var scope: String
    /// Whether it, or what came with it, was shown.
    var isUsed: Bool
    var isRotated: Bool
    /// Whether another came in its place because nobody had got it.
    var isSuperseded: Bool
    var isRevoked: Bool
    var expiresAt: Date
}

/// Two tokens that were made and are not stored yet.
///
/// A refresh token is a secret of its own and behind that one of its login, which all refresh tokens of the login have.
/// By the second, whoever shows it is known to have had a token of this login, even if that isn't here.
private struct FreshTokens {
    let access: String
    private let refresh: String
    private let newFamilySecret: String

    private static let secretLength = 64

    init() throws {
        access = try OpaqueToken.make(.access)
        refresh = try OpaqueToken.make(.refresh)
        newFamilySecret = String(try OpaqueToken.make(.refresh).suffix(Self.secretLength))
    }

    /// Nil for a token of an earlier version, which had none.
    static func familySecret(of refreshToken: String) -> String? {
        let prefix = OpaqueToken.Kind.refresh.rawValue
        guard refreshToken.hasPrefix(prefix), refreshToken.utf8.count == prefix.utf8.count + 2 * secretLength else {
            return nil
        }
        return String(refreshToken.suffix(secretLength))
    }

    /// - Parameter parent: The refresh token that they come in place of; nil for a new login.
    func store(
        family: Int64, after parent: String?, scope: String, _ login: LoginConfiguration, at now: Date,
        in database: Database
    ) throws -> IssuedTokens {
        var secret = newFamilySecret
        if let known = parent.flatMap(Self.familySecret(of:)) {
            secret = known
        } else {
            try database.execute(
                sql: "UPDATE token_family SET secret_sha512 = ? WHERE id = ?",
                arguments: [OpaqueToken.hash(secret).hex, family])
        }
        let refresh = self.refresh + secret
        let tokens = [(access, "access", login.accessTokenLifetime), (refresh, "refresh", login.refreshTokenLifetime)]
        for (token, kind, lifetime) in tokens {
            try database.execute(
                sql: "INSERT INTO token (sha512, family_id, kind, expires_at, parent) VALUES (?, ?, ?, ?, ?)",
                arguments: [
                    OpaqueToken.hash(token).hex, family, kind, now.addingTimeInterval(TimeInterval(lifetime)),
                    parent.map { OpaqueToken.hash($0).hex },
                ])
        }
        return IssuedTokens(
            accessToken: access, refreshToken: refresh, expiresIn: login.accessTokenLifetime, scope: scope)
    }
}
