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
    /// - Parameter replacing: whether a login that is there already is no reason to stop.
    /// - Throws: `CancellationError`, or the `LoginError` that ended it.
    public func run(replacing: Bool = false) async throws {
        try store.prepareDirectory()
        var shown: DeviceCode?
        let before = try await session.storedTokens()
        while true {
            if let lock = try LoginLock.attempt(.polling, directory: store.directory) {
                defer { lock.release() }
                if try await isDone(before, replacing) { return }
                return try await follow(shown: shown) { try await isDone(before, replacing) }
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
        if let code = try await session.usablePendingCode() { return code }
        switch await session.oauth.requestCode() {
        case .content(let code):
            try await session.keep(pending: code)
            return code
        case .error(let error, let description, _, let url):
            throw .refused(url: url, error: error, description: description)
        case .tooManyRequests(let url, _): throw .unavailable(url: url, status: 429)
        case .unavailable(let error, _), .unusable(let error): throw error
        }
    }

    /// Asks once whether the code that waits was approved meanwhile.
    /// - Throws: `login.required` where it was not.
    public func redeemPending() async throws(LoginError) {
        guard let code = try await session.usablePendingCode() else { throw .required(pending: nil) }
        if case .content(let tokens) = await session.oauth.redeem(code) { return try await session.accept(tokens) }
        // Whoever polls beside may just have got them.
        if try await session.isLoggedIn() { return }
        throw .required(pending: "the code \(code.userCode) still waits for approval at \(code.verificationURI)")
    }

    private func isDone(_ before: TokenSet?, _ replacing: Bool) async throws(LoginError) -> Bool {
        guard try await session.isLoggedIn() else { return false }
        guard replacing else { return true }
        return try await session.storedTokens() != before
    }

    /// - Parameter isDone: whether somebody else has brought a login meanwhile, such as `login --token-file`.
    private func follow(shown: DeviceCode?, isDone: () async throws -> Bool) async throws {
        var flow = DeviceFlow(jitter: Double.random(in: 0...0.25))
        var effects: [DeviceFlow.Effect]
        if let code = try await session.usablePendingCode() {
            let age = max(0, clock.wallTime.timeIntervalSince(code.issuedAt))
            effects = flow.handle(.resume(code, age: .seconds(age)), now: clock.uptime)
        } else {
            effects = flow.handle(.begin, now: clock.uptime)
        }
        while !effects.isEmpty {
            try Task.checkCancellation()
            switch effects.removeFirst() {
            case .requestCode:
                effects += flow.handle(.code(await session.oauth.requestCode()), now: clock.uptime)
            case .poll(let code):
                effects += flow.handle(.tokens(await session.oauth.redeem(code)), now: clock.uptime)
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
            case .succeed(let tokens): return try await session.accept(tokens)
            case .fail(let error):
                try await session.keep(pending: nil)
                throw error
            }
        }
    }
}

// MARK: What is stored

extension LoginSession {
    func storedTokens() async throws(LoginError) -> TokenSet? { try await storedRecord()?.tokens }

    /// The code that waits, unless its time is over.
    func usablePendingCode() async throws(LoginError) -> DeviceCode? {
        guard let code = try await pendingCode(), clock.wallTime < code.expiresAt else { return nil }
        return code
    }

    /// Writes down the code that waits; nil takes it away.
    func keep(pending: DeviceCode?) async throws(LoginError) {
        let lock = try await LoginLock.take(.change, directory: store.directory)
        defer { lock.release() }
        var record =
            try await storedRecord()
            ?? LoginRecord(origin: oauth.origin.description, clientID: oauth.clientID, tokens: nil, pending: nil)
        guard record.pending != pending else { return }
        record.pending = pending
        if record.isEmpty {
            try await store.remove()
        } else {
            _ = try await store.write(record)
        }
    }
}
