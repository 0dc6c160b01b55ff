import BackendClient

/// How the agent learns what has changed: by a request that the backend holds until something has, where the backend does
/// that, and otherwise by asking every `poll_interval`.
///
/// A value without I/O and without a clock: it is told how each request went, and says how long to ask the next one to wait
/// and how long to pause before it.
struct LongPoll: Sendable {
    /// What comes before the next request.
    enum Pause: Equatable, Sendable {
        case none
        /// So short that nobody minds, and long enough that nobody is kept busy.
        case breath
        /// At random, at least a second and up to so long: a thousand agents don't come back in one moment.
        case upTo(Duration)
        case pollInterval

        /// - Parameter random: 0 to 1.
        func duration(pollInterval: Duration, random: Double) -> Duration {
            switch self {
            case .none: .zero
            case .breath: .milliseconds(20) * (1 + random)
            case .upTo(let limit): .seconds(1) + max(.zero, limit - .seconds(1)) * random
            case .pollInterval: pollInterval * (0.9 + 0.2 * random)
            }
        }
    }

    /// Something that a person may want to know.
    enum Notice: Equatable, Sendable {
        /// Something between agent and backend cuts requests that wait.
        case shortened(to: Duration)
        case givenUp
        /// Waits end early again and again: another host may have the same identity.
        case endedEarly
    }

    /// How long the next request asks to wait; nil where it doesn't.
    private(set) var wait: Duration? = Self.longestWait
    /// Whether the backend has held a request.
    private(set) var isHeld = false
    /// Waits in a row whose connection was cut.
    private var cuts = 0
    /// Waits in a row that ended long before their time.
    private var early = 0
    private var failures = 0
    /// Answers in a row that claimed a change at once and brought none.
    private var quick = 0
    /// How many real changes may be asked for without a pause now.
    private var tokens = Double(Self.burst)
    /// What went well since waits were shortened or given up.
    private var good = 0

    static let longestWait = Duration.seconds(50)
    static let shortestWait = Duration.seconds(10)
    private static let longestPause = Duration.seconds(60)
    /// So many changes in a row are asked for without a pause. Then real ones are asked for up to ``rate`` times a second: a person
    /// who runs one command after the other must not wait. Answers whose tag alone is another have a second or two between
    /// them: a backend that has a new one each time must not keep the agent busy.
    private static let burst = 50
    /// A second.
    private static let rate = 50.0
    /// After so many waits of a shorter time, or so many polls, a longer wait is tried: what cut them may be gone.
    private static let goodUntilLonger = 120

    /// The backend has answered.
    /// - Parameters:
    ///   - isApplied: whether it says that it holds requests.
    ///   - hasChanged: whether it sent something.
    ///   - isNew: whether that is not what it sent before.
    ///   - closes: whether it closes the connection, because it stops.
    mutating func answered(
        isApplied: Bool, hasChanged: Bool, isNew: Bool = false, closes: Bool, after elapsed: Duration
    ) -> (pause: Pause, notice: Notice?) {
        failures = 0
        guard isApplied, let wait else {
            isHeld = false
            return (.pollInterval, nil)
        }
        isHeld = true
        tokens = min(Double(Self.burst), tokens + elapsed / .seconds(1) * Self.rate)
        quick = hasChanged && !isNew && elapsed < .seconds(1) ? quick + 1 : 0
        if quick > Self.burst { return (.upTo(.seconds(2)), nil) }
        if isNew {
            tokens = max(0, tokens - 1)
            if tokens < 1, !closes {
                (cuts, early) = (0, 0)
                return (.breath, nil)
            }
        }
        if hasChanged || elapsed >= wait / 2 {
            (cuts, early) = (0, 0)
            if !hasChanged { noteGood() }
            return (closes ? .upTo(.seconds(2)) : .none, nil)
        }
        // It stops, and comes back; or it is another of several.
        if closes { return (.upTo(.seconds(2)), nil) }
        early += 1
        return (.upTo(Self.doubled(early)), early == 2 ? .endedEarly : nil)
    }

    /// The backend was polled, because waits were given up, and has answered.
    mutating func polled() { noteGood() }

    private mutating func noteGood() {
        guard wait != Self.longestWait else { return }
        good += 1
        guard good >= Self.goodUntilLonger else { return }
        good = 0
        wait = wait.map { min(Self.longestWait, $0 * 2) } ?? Self.shortestWait
    }

    /// There was no answer.
    /// - Parameter isCut: the connection was lost, or nothing came in time, while the request waited.
    mutating func failed(isCut: Bool) -> (pause: Pause, notice: Notice?) {
        guard isHeld, let wait else { return (.pollInterval, nil) }
        guard isCut else {
            failures += 1
            return (.upTo(Self.doubled(failures)), nil)
        }
        cuts += 1
        guard cuts >= 2 else { return (.upTo(.seconds(2)), nil) }
        (cuts, good) = (0, 0)
        guard wait > Self.shortestWait else {
            self.wait = nil
            isHeld = false
            return (.pollInterval, .givenUp)
        }
        let shorter = max(Self.shortestWait, wait / 2)
        self.wait = shorter
        return (.upTo(.seconds(2)), .shortened(to: shorter))
    }

    private static func doubled(_ count: Int) -> Duration { min(longestPause, .seconds(1 << min(count, 6))) }
}
