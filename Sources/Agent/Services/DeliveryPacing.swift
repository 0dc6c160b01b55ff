import Foundation

/// How many results are on their way at the same time, and when none is to be sent at all.
///
/// While the backend as a whole doesn't answer, one result at a time asks whether it does again; the others wait
/// without an attempt of their own. When it answers, what has gathered is let go slowly: a thousand agents that come
/// back must not end what has just begun.
struct DeliveryPacing: Sendable {
    /// What became of a result that was sent.
    enum Verdict: Sendable {
        /// The backend has answered: taken, refused, or asked to wait with this one.
        case answered
        /// It answered that it could not, which may be due to this result.
        case failed
        /// It isn't there, or takes nothing now: no connection, `429`, `502`, `503`, `504`, `401`.
        case unavailable(retryAfter: TimeInterval?)
    }

    static let widest = 8
    /// How many may be on their way now.
    private(set) var width = 1
    /// How often in a row the backend wasn't there.
    private(set) var outages = 0
    /// Nothing is sent before.
    private(set) var pausedUntil = Date.distantPast

    /// Takes what became of all results that were sent together.
    mutating func note(_ verdicts: [Verdict], now: Date, using random: inout some RandomNumberGenerator) {
        var isUnavailable = false
        var asked: TimeInterval?
        var hasFailed = false
        for verdict in verdicts {
            switch verdict {
            case .answered: break
            case .failed: hasFailed = true
            case .unavailable(let retryAfter):
                isUnavailable = true
                asked = retryAfter.map { max($0, asked ?? 0) } ?? asked
            }
        }
        if isUnavailable {
            outages += 1
            width = 1
            // No more than a day, whatever a broken backend asks for.
            let pause = min(asked ?? Backoff.delay(afterFailures: outages, using: &random), 86_400)
            pausedUntil = now.addingTimeInterval(pause)
        } else if !verdicts.isEmpty {
            outages = 0
            pausedUntil = .distantPast
            width = hasFailed ? max(1, width / 2) : min(Self.widest, width * 2)
        }
    }

    /// When something may be sent; nil for now. A clock that was set back ends the pause.
    func pauseEnd(now: Date) -> Date? {
        guard pausedUntil > now, pausedUntil.timeIntervalSince(now) <= 86_400 else { return nil }
        return pausedUntil
    }
}
