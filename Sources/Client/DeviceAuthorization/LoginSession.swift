public import BackendClient
import Foundation
public import Logging

/// The login of this agent: hands out the access token, and renews it before it ends and when it was refused.
///
/// Several processes may share one login: what is stored is looked at before each request, and changed only under a
/// lock between them.
public actor LoginSession: CredentialProvider {
    // More than a dozen properties: the login in use, the one on disk, and what has failed since.
    /// A login as it is used.
    struct Held {
        var tokens: TokenSet
        /// When the access token ends, by the uptime.
        var end: Duration?
        /// When it is time for another one.
        var renewal: Duration?
        /// When this process got it from the backend; nil where it was read from the file.
        var obtained: Duration?
        /// How many refusals in a row have led to this token.
        var refusals = 0
    }

    struct Unsaved {
        var tokens: TokenSet
        /// What was stored as they came, and in which file: they must not take the place of anything later.
        var replaced: TokenSet?
        var identity: LoginStore.Identity?
        var isRenewal: Bool
    }

    let store: LoginStore
    let oauth: OAuthClient
    let clock: any LoginClock
    let logger: Logger
    var held: Held?
    var identity: LoginStore.Identity?
    private var hasRead = false
    /// Came from the backend and could not be written down yet; not used before it is.
    var unsaved: Unsaved?
    /// Refused by the backend, and there is no way to another one.
    var refused: Authorization?
    var refreshing: Task<Result<Void, LoginError>, Never>?
    var failures = 0
    var nextAttempt = Duration.zero
    var onLogout: @Sendable () -> Void = {}
    private var replacesForeign = false

    static let longestBackoff = Duration.seconds(300)

    /// - Throws: `login.insecure_server`, `http.invalid_url`.
    public init(
        settings: LoginSettings, directory: String, keySource: KeySource, http: HTTPClient,
        clock: any LoginClock = SystemLoginClock(), logger: Logger
    ) throws(LoginError) {
        oauth = try OAuthClient(settings, http: http, clock: clock)
        store = LoginStore(directory: directory, keySource: keySource)
        self.clock = clock
        self.logger = logger
    }

    /// Called when the login has ended by itself.
    public func setOnLogout(_ action: @escaping @Sendable () -> Void) { onLogout = action }

    /// Has a login at another backend, or of another client, replaced. Without this it is an error.
    public func replaceForeignLogin() { replacesForeign = true }

    // MARK: CredentialProvider

    public func authorization() async throws -> Authorization? {
        try await current().tokens.authorization
    }

    public func replacement(for rejected: Authorization) async throws -> Authorization? {
        try await synchronize()
        guard let held else { throw LoginError.required(pending: nil) }
        // Another request, or another process, was faster.
        guard held.tokens.authorization == rejected else { return held.tokens.authorization }
        guard held.tokens.isRefreshable else {
            refused = rejected
            self.held = nil
            logger.error(
                "the backend rejects the access token, and there is no refresh token; the agent is logged out",
                metadata: ["code": "login.required"])
            onLogout()
            return nil
        }
        guard mayRenewRefused(held), clock.uptime >= nextAttempt else { return nil }
        try await refresh(held.tokens, refusals: held.refusals + 1)
        guard let renewed = self.held?.tokens.authorization, renewed != rejected else { return nil }
        return renewed
    }

    // MARK: The state

    /// Whether there is a login.
    /// - Parameter retries: whether one that was set aside is tried again, where its time has come.
    /// - Throws: what keeps the stored login from being read.
    public func isLoggedIn(retries: Bool = true) async throws(LoginError) -> Bool {
        try await synchronize()
        if held == nil, retries { try await retrySetAside() }
        return held != nil
    }

    /// Notes which backend knows this login.
    /// - Returns: the id of the backend that the login is of, where it is another one.
    public func note(backendID: String) async throws(LoginError) -> String? {
        try await synchronize()
        guard held != nil, let before = try await storedRecord(), before.tokens != nil else { return nil }
        let known = before.backendID ?? backendID
        let other = known == backendID ? nil : backendID
        if before.backendID != known || before.otherBackendID != other {
            let lock = try await LoginLock.take(.change, directory: store.directory)
            defer { lock.release() }
            if var record = try await recordToChange(), record.tokens == before.tokens {
                record.backendID = known
                record.otherBackendID = other
                identity = try await store.write(record)
            }
        }
        return other == nil ? nil : known
    }

    /// The code that waits for approval, if any.
    public func pendingCode() async throws(LoginError) -> DeviceCode? {
        try await storedRecord()?.pending
    }

    /// Takes over tokens from elsewhere as this agent's login.
    /// - Returns: those that were there before.
    @discardableResult
    public func accept(_ tokens: TokenSet) async throws(LoginError) -> TokenSet? {
        try store.prepareDirectory()
        let lock = try await LoginLock.take(.change, directory: store.directory)
        defer { lock.release() }
        var new = Unsaved(tokens: tokens, replaced: nil, identity: store.identity, isRenewal: false)
        do throws(LoginError) {
            new.replaced = try await recordToChange(setsAside: true)?.tokens
        } catch {
            switch error {
            case .foreign: throw error
            case .damaged: new.identity = store.identity
            default:
                unsaved = new
                throw error
            }
        }
        try await save(new, refusals: 0)
        return new.replaced
    }

    /// Other tokens for these, which are no login yet; these are worth nothing afterwards.
    public func renewed(_ tokens: TokenSet) async throws(LoginError) -> TokenSet {
        guard let refreshToken = tokens.refreshToken else { throw .required(pending: nil) }
        // Before they are worth nothing.
        _ = try await recordToChange()
        switch await oauth.refresh(refreshToken) {
        case .content(let new): return new.keeping(refreshTokenOf: tokens)
        case .error(let error, let description, _, let url):
            throw .refused(url: url, error: error, description: description)
        case .tooManyRequests(let url, _, _): throw .unavailable(url: url, status: 429)
        case .unavailable(let error, _), .unusable(let error): throw error
        }
    }

    /// Has the backend end a login.
    func revoke(_ tokens: TokenSet) async throws(LoginError) {
        // The refresh token ends all that came of the login (RFC 7009, section 2.1).
        if let refreshToken = tokens.refreshToken { try await oauth.revoke(refreshToken, hint: "refresh_token") }
        try await oauth.revoke(tokens.accessToken, hint: "access_token")
    }

    /// Forgets the login, and revokes it where the backend can.
    /// - Returns: why it could not be revoked, and whether there was a login at all.
    /// - Throws: `login.foreign` where the login isn't this configuration's.
    public func logout() async throws(LoginError) -> (wasLoggedIn: Bool, problem: LoginError?) {
        guard store.identity != nil else { return (false, nil) }
        let lock = try await LoginLock.take(.change, directory: store.directory)
        defer { lock.release() }
        var problem: LoginError?
        var tokens: TokenSet?
        var wasSetAside = false
        do throws(LoginError) {
            let record = try await recordToChange()
            tokens = record?.tokens
            wasSetAside = record?.setAside != nil
        } catch {
            if case .foreign = error { throw error }
            // What can't be opened can't be revoked, and is still to be forgotten.
            problem = error
        }
        if let tokens {
            do throws(LoginError) {
                try await revoke(tokens)
            } catch {
                problem = error
            }
        }
        try await store.remove()
        held = nil
        unsaved = nil
        identity = nil
        return (tokens != nil || wasSetAside, problem)
    }

    // MARK: Steps

    func current() async throws(LoginError) -> Held {
        try await synchronize()
        guard let held else { throw await notLoggedIn() }
        let now = clock.uptime
        guard let renewal = held.renewal, now >= renewal, held.tokens.isRefreshable, now >= nextAttempt else {
            return held
        }
        do throws(LoginError) {
            try await refresh(held.tokens, refusals: 0)
        } catch {
            // It is ahead of time: what there is may do a little longer.
            guard self.held != nil, held.end.map({ clock.uptime < $0 }) ?? true else { throw error }
            logger.warning(
                "could not renew the access token, retrying: \(error.message)", metadata: ["code": "\(error.code)"])
        }
        guard let held = self.held else { throw .required(pending: nil) }
        return held
    }

    func notLoggedIn() async -> LoginError {
        let isSetAside = (try? await storedRecord())?.setAside != nil
        return .required(pending: isSetAside ? Self.setAsideSentence : nil)
    }

    /// Looks whether the stored login has changed, and brings what could not be written down to the disk.
    func synchronize() async throws(LoginError) {
        if unsaved != nil { try await saveLate() }
        let now = store.identity
        guard !hasRead || now != identity else { return }
        let found = try await store.read(setsAside: true)
        hasRead = true
        identity = found?.identity
        adopt(ours(found?.record)?.tokens)
    }

    func storedRecord() async throws(LoginError) -> LoginRecord? {
        ours(try await store.read(setsAside: false)?.record)
    }

    /// Brings what could not be written down to the disk, unless something else is there by now: a newer login, or none
    /// because somebody has logged out.
    func saveLate() async throws(LoginError) {
        let lock = try await LoginLock.take(.change, directory: store.directory)
        defer { lock.release() }
        guard let unsaved else { return }
        // Also a login at another backend is a newer one.
        if store.identity != unsaved.identity,
            try await store.read(setsAside: true)?.record.tokens != unsaved.replaced
        {
            self.unsaved = nil
            logger.warning(
                "discarding tokens that could not be saved: the stored login has changed in the meantime",
                metadata: ["code": "login.storage"])
            return
        }
        try await save(unsaved, refusals: 0)
    }

    /// What is stored, where it may be changed.
    /// - Parameter setsAside: whether a damaged file gets another name.
    /// - Throws: `login.foreign`, beside what keeps it from being read.
    func recordToChange(setsAside: Bool = false) async throws(LoginError) -> LoginRecord? {
        let record = try await store.read(setsAside: setsAside)?.record
        if let record, ours(record) == nil, record.tokens != nil || record.setAside != nil, !replacesForeign {
            throw .foreign(path: store.path, origin: record.origin, clientID: record.clientID)
        }
        return ours(record)
    }

    var newRecord: LoginRecord { LoginRecord(origin: oauth.origin.description, clientID: oauth.clientID) }

    /// A login for another backend or another client is none.
    func ours(_ record: LoginRecord?) -> LoginRecord? {
        guard let record, record.origin == oauth.origin.description, record.clientID == oauth.clientID else {
            return nil
        }
        return record
    }

    /// Takes over tokens that were read from the file.
    func adopt(_ tokens: TokenSet?) {
        guard let tokens, tokens.authorization != refused else {
            held = nil
            return
        }
        if held?.tokens == tokens { return }
        // A clock that was set back meanwhile makes nothing older than new.
        let age = Duration.seconds(max(0, clock.wallTime.timeIntervalSince(tokens.obtainedAt)))
        hold(tokens, age: min(age, .seconds(TokenSet.longestLifetime)), isNew: false, refusals: 0)
    }

    func hold(_ tokens: TokenSet, age: Duration, isNew: Bool, refusals: Int) {
        let now = clock.uptime
        var new = Held(tokens: tokens, obtained: isNew ? now : nil, refusals: refusals)
        if let lifetime = tokens.lifetime.map({ Duration.seconds($0) }) {
            // A tenth, and not the same for a thousand agents that were started together.
            let margin = min(lifetime / 2, min(.seconds(300), lifetime / 10) * Double.random(in: 0.75...1.25))
            new.end = now + lifetime - age
            new.renewal = now + lifetime - age - margin
        }
        held = new
    }

    /// Writes new tokens down, and only then uses them.
    func save(_ new: Unsaved, refusals: Int) async throws(LoginError) {
        unsaved = new
        var record = newRecord
        record.tokens = new.tokens
        if new.isRenewal, let stored = try? await storedRecord() {
            // A code that was asked for beside this login (`login --force --no-wait`) stays good.
            record.pending = stored.pending
            record.backendID = stored.backendID
            record.otherBackendID = stored.otherBackendID
        }
        identity = try await store.write(record)
        hasRead = true
        unsaved = nil
        refused = nil
        failures = 0
        nextAttempt = .zero
        hold(new.tokens, age: .zero, isNew: true, refusals: refusals)
    }
}
