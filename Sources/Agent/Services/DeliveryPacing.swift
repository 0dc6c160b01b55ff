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

    static let widest = 16
    /// How many may be on their way now.
    private(set) var width = 1
    /// How often in a row the backend wasn't there.
    private(set) var outages = 0
    /// Nothing is sent before.
    private(set) var pausedUntil = Date.distantPast
    /// Counts the changes of width: what was sent before one says nothing of what holds after it.
    private(set) var period = 0
    /// Answers since then.
    private var answers = 0

    /// Takes what became of one result.
    ///
    /// - Parameter sent: ``period`` when it was sent: many that were on their way when the backend went are one outage.
    mutating func note(
        _ verdict: Verdict, sentIn sent: Int, now: Date, using random: inout some RandomNumberGenerator
    ) {
        if case .unavailable(let asked?) = verdict, sent == period - 1, outages > 0 {
            // The longest of what the same outage asks for.
            pausedUntil = max(pausedUntil, now.addingTimeInterval(min(asked, Self.longestPause)))
        }
        guard sent == period else { return }
        switch verdict {
        case .unavailable(let asked):
            outages += 1
            // No more than a day, whatever a broken backend asks for.
            let pause = min(
                Backoff.delay(afterFailures: outages, notBefore: asked, using: &random), Self.longestPause)
            pausedUntil = now.addingTimeInterval(pause)
            change(width: 1)
        case .failed:
            isAnswering()
            change(width: max(1, width / 2))
        case .answered:
            isAnswering()
            answers += 1
            if answers >= width, width < Self.widest { change(width: width * 2) }
        }
    }

    /// Forgets the outage, and what is on its way says nothing of it.
    mutating func startOver() {
        isAnswering()
        change(width: 1)
    }

    private mutating func isAnswering() {
        outages = 0
        pausedUntil = .distantPast
    }

    private mutating func change(width: Int) {
        self.width = min(width, Self.widest)
        answers = 0
        period += 1
    }

    private static let longestPause: TimeInterval = 86_400

    /// When something may be sent; nil for now. A clock that was set back ends the pause.
    func pauseEnd(now: Date) -> Date? {
        guard pausedUntil > now, pausedUntil.timeIntervalSince(now) <= Self.longestPause else { return nil }
        return pausedUntil
    }
}
