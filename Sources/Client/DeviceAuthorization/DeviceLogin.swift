import BackendClient
import Foundation

/// Sees one login through, from the code to the tokens, together with other processes that do the same: one of them
/// polls, the others wait for what it writes down.
public struct DeviceLogin: Sendable {
    /// What a person may want to see.
    public enum Event: Sendable {
        /// Once for each code.
        case code(DeviceCode)
        case expired
        case trouble(LoginError, retryIn: Duration)
        /// There is a new login, and the one before it could not be revoked.
        case oldLoginStays(LoginError)
    }

    private let session: LoginSession
    private let onEvent: @Sendable (Event) async -> Void
    private var clock: any LoginClock { session.clock }
    private var store: LoginStore { session.store }

    private static let watchInterval = Duration.seconds(1)
    /// After which it is looked whether a login has come otherwise.
    private static let longestSleep = Duration.seconds(60)

    public init(session: LoginSession, onEvent: @escaping @Sendable (Event) async -> Void) {
        self.session = session
        self.onEvent = onEvent
    }

    /// Returns when the agent is logged in.
    /// - Parameter replacing: whether a person asks for it: neither a login that is there already nor a code that was
    ///   denied before is a reason to stop.
    /// - Throws: `CancellationError`, or the `LoginError` that ended it.
    public func run(replacing: Bool = false) async throws {
        try store.prepareDirectory()
        if replacing { try await session.forgetDenial() }
        var shown: DeviceCode?
        let before = try await session.storedTokens()
        while true {
            if let lock = try LoginLock.attempt(.polling, directory: store.directory) {
                defer { lock.release() }
                if try await isDone(before, replacing) { return }
                return try await follow(lock, shown: shown) { try await isDone(before, replacing) }
            }
            if try await isDone(before, replacing) { return }
            if let code = try await session.pendingCode(), code.userCode != shown?.userCode {
                shown = code
                await onEvent(.code(code))
            }
            try await clock.sleep(for: Self.watchInterval)
        }
    }

    /// Asks for a code, writes it down and leaves it at that.
    /// - Returns: the code that waits already, where there is one that is still good.
    public func begin() async throws(LoginError) -> DeviceCode {
        try store.prepareDirectory()
        switch try await session.obtainCode(insteadOf: nil) {
        case .content(let code): return code
        case .error(let error, let description, _, let url):
            throw .refused(url: url, error: error, description: description)
        case .tooManyRequests(let url, _, _): throw .unavailable(url: url, status: 429)
        case .unavailable(let error, _), .unusable(let error): throw error
        }
    }

    /// Asks once whether the code that waits was approved meanwhile, when the time for that has come.
    /// - Throws: `login.required` where it was not, with the reason.
    public func redeemPending() async throws(LoginError) {
        guard let code = try await session.usablePendingCode() else {
            let denied = try await session.storedRecord()?.denied
            throw .required(pending: denied.map { "the code \($0) was denied" })
        }
        let waits = "the code \(code.userCode) still waits for approval at \(code.verificationURI)"
        guard let lock = try LoginLock.attempt(.polling, directory: store.directory) else {
            throw .required(pending: waits + ", and another process asks the backend about it")
        }
        defer { lock.release() }
        do {
            try await waitForTurn(lock, code)
        } catch {
            throw .required(pending: waits)
        }
        try await poll(once: code, lock, otherwise: waits)
    }

    /// Until the interval since the last poll, of whichever process, is over.
    private func waitForTurn(_ lock: LoginLock, _ code: DeviceCode) async throws {
        guard let lastPoll = lock.lastPoll else { return }
        let elapsed = clock.wallTime.timeIntervalSince(lastPoll)
        // A clock that was set back makes nobody too fast.
        guard elapsed >= 0, elapsed < TimeInterval(code.interval) else { return }
        try await clock.sleep(for: .seconds(TimeInterval(code.interval) - elapsed))
    }

    private func isDone(_ before: TokenSet?, _ replacing: Bool) async throws(LoginError) -> Bool {
        if try await session.isLoggedIn() {
            guard replacing else { return true }
            if try await session.storedTokens() != before { return true }
        }
        // By another process, which polled.
        guard try await session.storedRecord()?.denied == nil else { throw .denied }
        return false
    }

    /// - Parameter isDone: whether somebody else has brought a login meanwhile, such as `login --token-file`.
    private func follow(_ lock: LoginLock, shown: DeviceCode?, isDone: () async throws -> Bool) async throws {
        var flow = DeviceFlow(jitter: Double.random(in: 0...0.25))
        var code = try await session.usablePendingCode()
        var effects: [DeviceFlow.Effect]
        if let code {
            effects = flow.handle(.resume(code, age: age(of: code)), now: clock.uptime)
        } else {
            effects = flow.handle(.begin, now: clock.uptime)
        }
        while !effects.isEmpty {
            try Task.checkCancellation()
            switch effects.removeFirst() {
            case .requestCode:
                let answer = try await session.obtainCode(insteadOf: code)
                if case .content(let new) = answer { code = new }
                effects += flow.handle(.code(answer), now: clock.uptime)
            case .poll(let code):
                effects += flow.handle(.tokens(await redeem(code, lock)), now: clock.uptime)
            case .wait(let duration):
                var left = duration
                while left > .zero {
                    let piece = min(left, Self.longestSleep)
                    try await clock.sleep(for: piece)
                    left -= piece
                    if try await isDone() { return }
                }
                effects += flow.handle(.timer, now: clock.uptime)
            case .keep(let code): try await session.keep(pending: code)
            case .show(let code): if code.userCode != shown?.userCode { await onEvent(.code(code)) }
            case .expired: await onEvent(.expired)
            case .trouble(let error, let retryIn): await onEvent(.trouble(error, retryIn: retryIn))
            case .succeed(let tokens): return try await finish(tokens)
            case .fail(let error):
                try await session.keep(pending: nil, denied: error == .denied ? code?.userCode : nil)
                throw error
            }
        }
    }

    /// - Parameter waits: what is said where nobody has decided yet.
    private func poll(once code: DeviceCode, _ lock: LoginLock, otherwise waits: String) async throws(LoginError) {
        // Whoever polled before may have got the tokens.
        if try await session.isLoggedIn() { return }
        var flow = DeviceFlow()
        _ = flow.handle(.resume(code, age: age(of: code)), now: clock.uptime)
        _ = flow.handle(.timer, now: clock.uptime)
        var reason = waits
        for effect in flow.handle(.tokens(await redeem(code, lock)), now: clock.uptime) {
            switch effect {
            case .succeed(let tokens):
                return try await finish(tokens)
            case .keep(let code): try await session.keep(pending: code)
            case .expired:
                try await session.keep(pending: nil)
                reason = "the code \(code.userCode) has expired"
            case .trouble(let error, _):
                reason = "the backend could not be asked about the code \(code.userCode): \(error.message)"
            case .fail(let error):
                try await session.keep(pending: nil, denied: error == .denied ? code.userCode : nil)
                reason =
                    error == .denied
                    ? "the code \(code.userCode) was denied"
                    : "the login with the code \(code.userCode) failed: \(error.message)"
            case .requestCode, .poll, .wait, .show: break
            }
        }
        throw .required(pending: reason)
    }

    private func redeem(_ code: DeviceCode, _ lock: LoginLock) async -> OAuthAnswer<TokenSet> {
        let answer = await session.oauth.redeem(code)
        lock.notePoll(clock.wallTime)
        return answer
    }

    private func finish(_ tokens: TokenSet) async throws(LoginError) {
        guard let old = try await session.accept(tokens) else { return }
        do throws(LoginError) {
            try await session.revoke(old)
        } catch {
            await onEvent(.oldLoginStays(error))
        }
    }

    private func age(of code: DeviceCode) -> Duration {
        .seconds(max(0, clock.wallTime.timeIntervalSince(code.issuedAt)))
    }
}

// MARK: What is stored

extension LoginSession {
    func storedTokens() async throws(LoginError) -> TokenSet? { try await storedRecord()?.tokens }

    /// The code that waits, unless its time is over.
    public func usablePendingCode() async throws(LoginError) -> DeviceCode? {
        guard let code = try await pendingCode(), clock.wallTime < code.expiresAt else { return nil }
        return code
    }

    /// The code that waits already, or a new one from the backend, which is written down. Under the lock, so that all
    /// who ask at the same time get the same.
    /// - Parameter worthless: a code that is not to be given back, though its time may not be over by this host's clock.
    func obtainCode(insteadOf worthless: DeviceCode?) async throws(LoginError) -> OAuthAnswer<DeviceCode> {
        let lock = try await LoginLock.take(.change, directory: store.directory)
        defer { lock.release() }
        var record = try await recordToChange() ?? newRecord
        if let code = record.pending, clock.wallTime < code.expiresAt, code.deviceCode != worthless?.deviceCode {
            return .content(code)
        }
        let answer = await oauth.requestCode()
        if case .content(let code) = answer {
            record.pending = code
            record.denied = nil
            _ = try await store.write(record)
        }
        return answer
    }

    /// Writes down the code that waits, or that it was denied; nil takes it away.
    func keep(pending: DeviceCode?, denied: String? = nil) async throws(LoginError) {
        try await change {
            $0.pending = pending
            $0.denied = denied
        }
    }

    /// Has a code that was denied stand in no login's way any more.
    public func forgetDenial() async throws(LoginError) {
        guard try await storedRecord()?.denied != nil else { return }
        try await change { $0.denied = nil }
    }

    private func change(_ body: (inout LoginRecord) -> Void) async throws(LoginError) {
        let lock = try await LoginLock.take(.change, directory: store.directory)
        defer { lock.release() }
        let before = try await recordToChange() ?? newRecord
        var record = before
        body(&record)
        guard record != before else { return }
        if record.isEmpty {
            try await store.remove()
        } else {
            _ = try await store.write(record)
        }
    }
}
