import Cryptography
import Foundation

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
        let outcome = try await storage.write { [login] storage -> Result<IssuedTokens, OAuthError> in
            guard let stored = try storage.login(deviceCode: hash, clientID: clientID) else {
                return .failure(OAuthError(.invalidGrant, "this device_code is unknown to this client"))
            }
            let expiresAt = stored.login.expiresAt
            switch stored.login.state {
            case .denied: return .failure(OAuthError(.accessDenied, "an administrator denied this login"))
            case .used: return .failure(OAuthError(.invalidGrant, "this device_code was exchanged before"))
            // Approved at the last moment: its host polls once more after the end, and its agent is there already.
            case .approved where now < expiresAt.addingTimeInterval(Self.redemptionGrace): break
            case _ where expiresAt <= now:
                return .failure(OAuthError(.expiredToken, "this device_code expired; ask for a new one"))
            case .pending: return .failure(try Self.notePoll(of: stored, at: now, in: storage))
            case .approved, .expired: break
            }
            guard let agentID = stored.login.agentID else {
                return .failure(OAuthError(.accessDenied, "the agent of this login was deleted"))
            }
            try storage.deleteTokens(expiredAt: now)
            try storage.setState(.used, agentID: agentID, ofLogin: stored.code)
            let scope = stored.login.scope
            let family = try storage.insertTokenFamily(agentID: agentID, clientID: clientID, scope: scope, at: now)
            return .success(
                try fresh.store(family: family, after: nil, scope: scope, login, at: now, in: storage))
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
        let outcome = try await storage.write { [self] storage -> Result<IssuedTokens, OAuthError> in
            let refused = OAuthError(.invalidGrant, "this refresh token is unknown, expired or revoked; log in again")
            if try Self.token(hash, kind: .refresh, in: storage) == nil {
                try Self.takeUp(refreshToken, login, at: now, in: storage)
            }
            guard let token = try Self.token(hash, kind: .refresh, in: storage) else { return .failure(refused) }
            guard clientID == nil || clientID == token.clientID else {
                return .failure(OAuthError(.invalidGrant, "this refresh token was issued to another client"))
            }
            // Also where the request names none: that may be left out (RFC 6749, section 3.2.1).
            try checkClient(token.clientID)
            if token.isRevoked { return .failure(refused) }
            if token.isSuperseded || token.isRotated, try !Self.isSuccessorUnused(of: token, in: storage) {
                try storage.revokeTokenFamily(token.family)
                return .failure(
                    OAuthError(
                        .invalidGrant, "this refresh token was used before, so its login has ended; log in again"))
            }
            if token.expiresAt <= now { return .failure(refused) }
            guard let granted = Self.granted(scope, of: token.scope) else {
                return .failure(OAuthError(.invalidScope, "the scope goes beyond that of the login"))
            }
            // Their use would mean that somebody has got them after all.
            try storage.withdrawSuccessors(of: hash)
            try storage.rotateToken(hash)
            try storage.endRestoration(ofTokenFamily: token.family)
            // Refresh tokens that were rotated stay until they would have expired: until then their use means that one
            // of two holders is not who it should be.
            try storage.deleteTokens(expiredAt: now)
            return .success(
                try fresh.store(
                    family: token.family, after: refreshToken, scope: granted, login, at: now, in: storage))
        }
        return try outcome.get()
    }

    /// Ends a token: an access token alone, a refresh token with all that came of its login (RFC 7009, section 2.1).
    /// One that isn't known is ended already.
    /// - Throws: `OAuthError` when it was issued to another client than the one named.
    public func revoke(_ text: String, clientID: String?) async throws {
        if let clientID { try checkClient(clientID) }
        let hash = OpaqueToken.hash(text).hex
        try await storage.write { [self] storage in
            guard let token = try storage.token(hash) else { return }
            guard clientID == nil || clientID == token.clientID else {
                throw OAuthError(.invalidGrant, "this token was issued to another client")
            }
            try checkClient(token.clientID)
            switch token.kind {
            case .refresh: try storage.revokeTokenFamily(token.family)
            case .access: try storage.deleteToken(hash)
            }
        }
    }

    /// Ends all logins of an agent.
    /// - Throws: `ReferenceBackendError.notFound`.
    public func revokeTokens(ofAgent agentID: String) async throws {
        // Whoever waits with one of them is to notice.
        try await changing([agentID]) { storage in
            _ = try storage.requireAgent(agentID)
            try storage.deleteTokenFamilies(ofAgent: agentID)
            try storage.denyApprovedLogins(ofAgent: agentID)
        }
    }

    /// The agent that an access token was issued to; nil for a token that isn't good.
    public func agentID(ofAccessToken text: String) async throws -> String? {
        let now = now()
        let hash = OpaqueToken.hash(text).hex
        let found = try await storage.read { storage -> (token: StoredToken, lastSeenAt: Date?)? in
            guard let token = try Self.token(hash, kind: .access, in: storage), !token.isRevoked, token.expiresAt > now
            else { return nil }
            return (token, try storage.lastContact(ofAgent: token.agentID))
        }
        guard let found else { return nil }
        let agentID = found.token.agentID
        if let parent = found.token.parent, !found.token.isUsed {
            // The refresh token that came with it as well: it outlives this one, and whoever has one has both.
            try await storage.write { try $0.useSuccessors(of: parent) }
        }
        if Self.isWorthNoting(now, after: found.lastSeenAt) {
            try await storage.write { try $0.noteContact(ofAgent: agentID, at: now) }
        }
        return agentID
    }

    /// How long after its end the code of an approved login can be exchanged, in seconds.
    private static let redemptionGrace: TimeInterval = 60

    /// Notes that a host polled, and says what it is told.
    private static func notePoll(
        of stored: StoredLogin, at now: Date, in storage: any StorageWriter
    ) throws -> OAuthError {
        let interval = stored.interval
        var next = interval
        // A tenth is left to the network: a request may take longer to arrive than the one after it. A clock that was
        // set back makes nobody too fast.
        if let polledAt = stored.polledAt, case let elapsed = now.timeIntervalSince(polledAt), elapsed >= 0,
            elapsed < 0.9 * TimeInterval(interval)
        {
            next += 5
        }
        try storage.notePoll(ofLogin: stored.code, at: now, interval: next)
        return next == interval
            ? OAuthError(.authorizationPending, "nobody has decided on this login yet")
            : OAuthError(.slowDown, "wait \(next) seconds between two polls from now on", interval: next)
    }

    /// Whether what replaced a refresh token was never used: then the answer that brought it was lost, and the agent
    /// asks again.
    ///
    /// A thief who is first is found out all the same: of two who have one token, one uses what it got, and then the
    /// other asks again.
    private static func isSuccessorUnused(of token: StoredToken, in storage: any StorageReader) throws -> Bool {
        guard !token.isSuperseded else { return false }
        return try storage.hasUnusedSuccessor(of: token.hash)
    }

    /// Looks at a refresh token that isn't here, but names a login that is.
    ///
    /// After a backup was restored it is the newest one: what it replaced is in the backup and it is not. That is
    /// believed once of each login, and of the others that are not here either, the use ends the login. Otherwise it is
    /// one of those.
    private static func takeUp(
        _ refreshToken: String, _ login: LoginConfiguration, at now: Date, in storage: any StorageWriter
    ) throws {
        guard let secret = FreshTokens.familySecret(of: refreshToken),
            let family = try storage.tokenFamily(withSecret: OpaqueToken.hash(secret).hex)
        else { return }
        let lifetime = TimeInterval(login.refreshTokenLifetime)
        guard let restoredAt = family.restoredAt, now < restoredAt.addingTimeInterval(lifetime) else {
            return try storage.revokeTokenFamily(family.id)
        }
        try storage.supersedeRefreshTokens(ofFamily: family.id)
        try storage.insertToken(
            NewToken(
                hash: OpaqueToken.hash(refreshToken).hex, family: family.id, kind: .refresh,
                expiresAt: now.addingTimeInterval(lifetime)))
    }

    /// The part of a login's scope that is asked for; nil where it goes beyond.
    private static func granted(_ wanted: String?, of scope: String) -> String? {
        guard let wanted else { return scope }
        let known = Set(scope.split(separator: " "))
        return wanted.split(separator: " ").allSatisfy(known.contains) ? wanted : nil
    }

    private static func token(
        _ hash: String, kind: StoredToken.Kind, in storage: any StorageReader
    ) throws -> StoredToken? {
        guard let token = try storage.token(hash), token.kind == kind else { return nil }
        return token
    }
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
        in storage: any StorageWriter
    ) throws -> IssuedTokens {
        var secret = newFamilySecret
        if let known = parent.flatMap(Self.familySecret(of:)) {
            secret = known
        } else {
            try storage.setSecret(OpaqueToken.hash(secret).hex, ofTokenFamily: family)
        }
        let refresh = self.refresh + secret
        let tokens: [(String, StoredToken.Kind, Int)] = [
            (access, .access, login.accessTokenLifetime), (refresh, .refresh, login.refreshTokenLifetime),
        ]
        for (token, kind, lifetime) in tokens {
            try storage.insertToken(
                NewToken(
                    hash: OpaqueToken.hash(token).hex, parent: parent.map { OpaqueToken.hash($0).hex }, family: family,
                    kind: kind, expiresAt: now.addingTimeInterval(TimeInterval(lifetime))))
        }
        return IssuedTokens(
            accessToken: access, refreshToken: refresh, expiresIn: login.accessTokenLifetime, scope: scope)
    }
}
