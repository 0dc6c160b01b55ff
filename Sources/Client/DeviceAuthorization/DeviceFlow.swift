/// The device authorization grant from the device's side (RFC 8628, sections 3.1 to 3.5): what to do after what.
///
/// A value without I/O and without a clock: it is told what happened and how late it is, and answers what is to be done.
struct DeviceFlow: Sendable, Equatable {
    enum Event: Sendable, Equatable {
        case begin
        /// A code from before a restart, given out that long ago.
        case resume(DeviceCode, age: Duration)
        case code(OAuthAnswer<DeviceCode>)
        case tokens(OAuthAnswer<TokenSet>)
        /// The wait is over.
        case timer
    }

    enum Effect: Sendable, Equatable {
        case requestCode
        case poll(DeviceCode)
        case wait(Duration)
        /// Write it down, so that it survives a restart.
        case keep(DeviceCode)
        case show(DeviceCode)
        /// The code that was shown is worth nothing any more; another one comes.
        case expired
        /// Something is wrong and will be tried again after that time.
        case trouble(LoginError, retryIn: Duration)
        case succeed(TokenSet)
        case fail(LoginError)
    }

    private struct Pending: Equatable {
        var code: DeviceCode
        var end: Duration
        /// Polls in a row that met nobody.
        var failures = 0
        var isResumed = false
        /// Whether a poll was ever answered as OAuth has it.
        var hasAnswer = false
        /// The last answer that was none of OAuth, as a proxy between gives.
        var nonsense: LoginError?
    }

    private enum State: Equatable {
        case idle
        case requesting(failures: Int)
        case waitingToRequest(failures: Int)
        case waitingToPoll(Pending)
        case polling(Pending)
        case ended
    }

    private var state = State.idle
    private var lastRequest: Duration?
    /// The share by which waits after trouble are longer, so that a thousand devices don't come back together.
    private let jitter: Double

    private static let longestBackoff = Duration.seconds(300)
    private static let slowDown = 5
    /// Between two requests for a code, also where the backend's codes last no time.
    private static let codeSpacing = Duration.seconds(5)

    init(jitter: Double = 0) { self.jitter = jitter }

    /// - Parameter now: the uptime.
    mutating func handle(_ event: Event, now: Duration) -> [Effect] {
        switch (state, event) {
        case (.idle, .begin): return requestCode(now: now)
        case (.idle, .resume(let code, let age)):
            let pending = Pending(code: code, end: now + .seconds(code.lifetime) - age, isResumed: true)
            guard pending.end > now else { return [.expired] + requestCode(now: now) }
            return [.show(code)] + waitToPoll(pending, now: now)
        case (.requesting(let failures), .code(let answer)): return take(answer, failures: failures, now: now)
        case (.waitingToRequest(let failures), .timer): return requestCode(failures: failures, now: now)
        case (.waitingToPoll(let pending), .timer):
            // Once more where its time is over: it may have been approved since the last poll.
            state = .polling(pending)
            return [.poll(pending.code)]
        case (.polling(let pending), .tokens(let answer)): return take(answer, pending, now: now)
        default: return []
        }
    }

    // MARK: The code

    private mutating func requestCode(failures: Int = 0, now: Duration) -> [Effect] {
        if let lastRequest, failures == 0, now < lastRequest + Self.codeSpacing {
            state = .waitingToRequest(failures: 0)
            return [.wait(lastRequest + Self.codeSpacing - now)]
        }
        lastRequest = now
        state = .requesting(failures: failures)
        return [.requestCode]
    }

    private mutating func take(_ answer: OAuthAnswer<DeviceCode>, failures: Int, now: Duration) -> [Effect] {
        switch answer {
        case .content(let code):
            let pending = Pending(code: code, end: now + .seconds(code.lifetime))
            return [.keep(code), .show(code)] + waitToPoll(pending, now: now)
        case .error("slow_down", _, let interval, let url):
            return requestLater(
                .unavailable(url: url, status: 429), failures: failures, atLeast: interval.map { .seconds($0) })
        case .tooManyRequests(let url, let retryAfter, let interval):
            let atLeast = max(retryAfter ?? .zero, .seconds(interval ?? 0))
            return requestLater(.unavailable(url: url, status: 429), failures: failures, atLeast: atLeast)
        case .unavailable(let error, let retryAfter):
            return requestLater(error, failures: failures, atLeast: retryAfter)
        case .error("access_denied", _, _, _): return fail(.denied)
        case .error(let error, let description, _, let url):
            return fail(.refused(url: url, error: error, description: description))
        case .unusable(let error): return fail(error)
        }
    }

    private mutating func requestLater(_ error: LoginError, failures: Int, atLeast: Duration?) -> [Effect] {
        state = .waitingToRequest(failures: failures + 1)
        let wait = max(backoff(.seconds(DeviceCode.defaultInterval), failures: failures), atLeast ?? .zero)
        return [.trouble(error, retryIn: wait), .wait(wait)]
    }

    // MARK: Polling

    private mutating func take(_ answer: OAuthAnswer<TokenSet>, _ before: Pending, now: Duration) -> [Effect] {
        var pending = before
        switch answer {
        case .content(let tokens):
            state = .ended
            return [.succeed(tokens)]
        case .error("authorization_pending", _, _, _):
            pending.failures = 0
            pending.hasAnswer = true
            return waitToPoll(pending, now: now)
        case .error("slow_down", _, let interval, _):
            pending.hasAnswer = true
            return slowDown(&pending, interval: interval, now: now)
        case .tooManyRequests(_, let retryAfter, let interval):
            return slowDown(&pending, interval: interval, atLeast: retryAfter, now: now)
        case .error("expired_token", _, _, _): return startOver(now: now)
        // Another process may have fetched the tokens, or the backend has lost the code meanwhile.
        case .error("invalid_grant", _, _, _) where pending.isResumed: return startOver(now: now)
        case .error("access_denied", _, _, _): return fail(.denied)
        case .error(let error, let description, _, let url):
            return fail(.refused(url: url, error: error, description: description))
        case .unavailable(let error, let retryAfter):
            return pollLater(&pending, error, atLeast: retryAfter, now: now)
        // The code is used up.
        case .unusable(let error) where error.isUnusableToken: return fail(error)
        // The code came from there, so whoever answers that is in between, and not for ever.
        case .unusable(let error):
            pending.nonsense = error
            return pollLater(&pending, error, atLeast: nil, now: now)
        }
    }

    private mutating func pollLater(
        _ pending: inout Pending, _ error: LoginError, atLeast: Duration?, now: Duration
    ) -> [Effect] {
        let wait = max(backoff(.seconds(pending.code.interval), failures: pending.failures + 1), atLeast ?? .zero)
        pending.failures += 1
        return [.trouble(error, retryIn: wait)] + waitToPoll(pending, for: wait, now: now)
    }

    private mutating func slowDown(
        _ pending: inout Pending, interval: Int?, atLeast: Duration? = nil, now: Duration
    ) -> [Effect] {
        pending.failures = 0
        pending.code.interval = min(
            DeviceCode.longestInterval, max(pending.code.interval + Self.slowDown, interval ?? 0))
        let wait = max(.seconds(pending.code.interval), atLeast ?? .zero)
        return [.keep(pending.code)] + waitToPoll(pending, for: wait, now: now)
    }

    private mutating func waitToPoll(_ pending: Pending, for wait: Duration? = nil, now: Duration) -> [Effect] {
        guard pending.end > now else {
            // Nobody at that address knows OAuth: another code would fare no better.
            if let error = pending.nonsense, !pending.hasAnswer { return fail(error) }
            return startOver(now: now)
        }
        state = .waitingToPoll(pending)
        // Not beyond its end, where another code is asked for, but for the last poll.
        let interval = Duration.seconds(pending.code.interval)
        return [.wait(max(interval, min(wait ?? interval, pending.end - now)))]
    }

    private mutating func startOver(now: Duration) -> [Effect] { [.expired] + requestCode(now: now) }

    private mutating func fail(_ error: LoginError) -> [Effect] {
        state = .ended
        return [.fail(error)]
    }

    /// Doubling with each failure (RFC 8628, section 3.5), no further than five minutes or the interval itself.
    private func backoff(_ interval: Duration, failures: Int) -> Duration {
        let doubled = interval * (1 << min(failures, 16)) * (1 + jitter)
        return max(interval, min(doubled, Self.longestBackoff))
    }
}

extension LoginError {
    fileprivate var isUnusableToken: Bool {
        if case .invalidToken = self { true } else { false }
    }
}
