import BackendClient
import Foundation
import Logging

/// How a login gets another access token, and what becomes of one that is refused.
extension LoginSession {
    /// The first refusal leads to another token at once, however new the refused one is: a backend that was restarted
    /// knows none. One that refuses even new tokens must not be asked for others at every request: the pause grows.
    func mayRenewRefused(_ held: Held) -> Bool {
        guard let obtained = held.obtained, held.refusals > 0 else { return true }
        let base = min(Duration.seconds(30), held.tokens.lifetime.map { .seconds($0) / 2 } ?? .seconds(30))
        return clock.uptime - obtained >= min(base * (1 << min(held.refusals - 1, 10)), .seconds(900))
    }

    /// One refresh for all who ask meanwhile.
    func refresh(_ stale: TokenSet, refusals: Int) async throws(LoginError) {
        let task: Task<Result<Void, LoginError>, Never>
        if let refreshing {
            task = refreshing
        } else {
            // Not the caller's: one that gives up must not lose tokens that the backend has already changed.
            task = Task {
                do throws(LoginError) {
                    try await self.refreshOnce(stale, refusals: refusals)
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
            refreshing = task
        }
        let result = await task.value
        if refreshing == task { refreshing = nil }
        try result.get()
    }

    func refreshOnce(_ stale: TokenSet, refusals: Int) async throws(LoginError) {
        let lock = try await LoginLock.take(.change, directory: store.directory)
        defer { lock.release() }
        // Another process may have done it while this one waited.
        if try await adoptOther(than: stale) { return }
        guard let refreshToken = stale.refreshToken else { throw .required(pending: nil) }
        switch await oauth.refresh(refreshToken) {
        case .content(let new):
            try await save(
                Unsaved(
                    tokens: new.keeping(refreshTokenOf: stale), replaced: stale, identity: identity, isRenewal: true),
                refusals: refusals)
            logger.debug(
                "access token renewed", metadata: ["expires_in": "\(new.lifetime.map(String.init) ?? "unknown")"])
        case .error("invalid_grant", let description, _, let url):
            if try await adoptOther(than: stale) { return }
            try await setAside(stale, .refused(url: url, error: "invalid_grant", description: description))
        case .error(let error, let description, _, let url):
            throw postponed(.refused(url: url, error: error, description: description), atLeast: nil)
        case .tooManyRequests(let url, let retryAfter, _):
            throw postponed(.unavailable(url: url, status: 429), atLeast: retryAfter)
        case .unavailable(let error, let retryAfter): throw postponed(error, atLeast: retryAfter)
        case .unusable(let error): throw postponed(error, atLeast: nil)
        }
    }

    /// Whether the file has other tokens by now; they are taken over then.
    func adoptOther(than stale: TokenSet) async throws(LoginError) -> Bool {
        let found = try await store.read(setsAside: true)
        identity = found?.identity
        let tokens = ours(found?.record)?.tokens
        guard tokens?.accessToken != stale.accessToken || tokens?.refreshToken != stale.refreshToken else {
            return false
        }
        adopt(tokens)
        // Somebody has logged out meanwhile.
        guard held != nil else { throw .required(pending: nil) }
        return true
    }

    /// A backend that was put back from a backup, or that lost its database for a while, may know the login again: it is
    /// kept aside and tried again, while a person may log in anew.
    func setAside(_ tokens: TokenSet, _ reason: LoginError) async throws(LoginError) {
        held = nil
        var record = try await storedRecord() ?? newRecord
        record.tokens = nil
        record.setAside = LoginRecord.SetAside(tokens: tokens, since: clock.wallTime)
        identity = try await store.write(record)
        logger.error(
            """
            the backend doesn't know this login any more; the login is kept and tried again for a day, and a person can \
            log in anew meanwhile: \(reason.message)
            """, metadata: ["code": "\(reason.code)"])
        onLogout()
        throw .required(pending: Self.setAsideSentence)
    }

    static let setAsideSentence = "the backend doesn't know its login any more, which is tried again"

    /// Asks the backend about a login that was set aside, where its time has come.
    func retrySetAside() async throws(LoginError) {
        guard let waiting = try await storedRecord()?.setAside, waiting.isDue(clock.wallTime) else { return }
        // Whoever holds the lock may be asking; the next look will see.
        guard let lock = try LoginLock.attempt(.change, directory: store.directory) else { return }
        defer { lock.release() }
        guard var record = try await recordToChange(), record.tokens == nil, var aside = record.setAside,
            aside.isDue(clock.wallTime)
        else { return }
        aside.attempted(clock.wallTime)
        // Before the request: a process that ends meanwhile asks no sooner.
        record.setAside = aside
        identity = try await store.write(record)
        guard let refreshToken = aside.tokens.refreshToken else { return try await endLogin(record) }
        switch await oauth.refresh(refreshToken) {
        case .content(let new):
            try await save(
                Unsaved(
                    tokens: new.keeping(refreshTokenOf: aside.tokens), replaced: nil, identity: identity,
                    isRenewal: true),
                refusals: 0)
            logger.notice("the backend accepts the login that was set aside")
        // Another backend says nothing about a login of this one: a person has to decide.
        case .error("invalid_grant", _, _, _) where clock.wallTime >= aside.end && record.otherBackendID == nil:
            try await endLogin(record)
        default: return
        }
    }

    func endLogin(_ before: LoginRecord) async throws(LoginError) {
        var record = before
        record.setAside = nil
        if record.isEmpty {
            try await store.remove()
            identity = nil
        } else {
            identity = try await store.write(record)
        }
        logger.error(
            "the login has ended: the backend has rejected it for a day; log in again",
            metadata: ["code": "login.required"])
    }

    func postponed(_ error: LoginError, atLeast: Duration?) -> LoginError {
        failures += 1
        let backoff = min(Self.longestBackoff, .seconds(1) * (1 << min(failures, 10)) * Double.random(in: 0.75...1.25))
        nextAttempt = clock.uptime + max(backoff, atLeast ?? .zero)
        return error
    }
}
