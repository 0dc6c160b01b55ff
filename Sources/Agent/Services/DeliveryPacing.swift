import Foundation
import RunJournal

/// How many results are on their way at the same time, and when none is to be sent at all.
///
/// While the backend as a whole doesn't answer, one result at a time asks whether it does again; the others wait
/// without an attempt of their own. When it answers, what has gathered is let go slowly, by its number and by its rate:
/// a thousand agents that come back must not end what has just begun.
struct DeliveryPacing: Sendable {
    /// What became of a result that was sent.
    enum Verdict: Sendable {
        /// The backend has answered: taken, refused, or asked to wait with this one.
        case answered
        /// It answered that it could not, which may be due to this result: `500`, a page of a proxy.
        case failed(RunID)
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
    /// Results that have failed since the last answer.
    private var failing: Set<RunID> = []
    /// Between two results after an outage, in seconds; 0 where none was, or where it is long over.
    private var gap: TimeInterval = 0
    private var nextTurn = Date.distantPast

    /// So many results that fail in a row are no fault of theirs.
    static let failuresOfOutage = 8
    /// Four in a second after an outage, and each comes 2 % sooner than the last: after 12 seconds and 270 results the
    /// rate has no bound.
    private static let firstGap: TimeInterval = 0.25
    private static let gapFactor = 0.98
    private static let lastGap: TimeInterval = 0.001

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
        switch verdict {
        case .failed(let run): if failing.count < Self.failuresOfOutage { failing.insert(run) }
        case .answered: failing.removeAll()
        case .unavailable: break
        }
        guard sent == period else { return }
        switch verdict {
        case .unavailable(let asked):
            isAway(asked: asked, now: now, using: &random)
        case .failed where failing.count >= Self.failuresOfOutage:
            isAway(asked: nil, now: now, using: &random)
        case .failed:
            isAnswering(now: now)
            change(width: max(1, width / 2))
        case .answered:
            isAnswering(now: now)
            answers += 1
            if answers >= width, width < Self.widest { change(width: width * 2) }
        }
    }

    /// Forgets the outage, and what is on its way says nothing of it.
    mutating func startOver(now: Date) {
        failing.removeAll()
        isAnswering(now: now)
        change(width: 1)
    }

    /// A result is on its way now.
    mutating func send(now: Date) {
        guard gap > 0 else { return }
        nextTurn = now.addingTimeInterval(gap)
        gap = gap * Self.gapFactor < Self.lastGap ? 0 : gap * Self.gapFactor
    }

    private mutating func isAway(asked: TimeInterval?, now: Date, using random: inout some RandomNumberGenerator) {
        outages += 1
        // No more than a day, whatever a broken backend asks for.
        let pause = min(Backoff.delay(afterFailures: outages, notBefore: asked, using: &random), Self.longestPause)
        pausedUntil = now.addingTimeInterval(pause)
        change(width: 1)
    }

    private mutating func isAnswering(now: Date) {
        if outages > 0 {
            gap = Self.firstGap
            nextTurn = now.addingTimeInterval(gap)
        }
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

    /// When the next result may be sent after an outage; nil for now. A clock that was set back ends the wait.
    func turn(now: Date) -> Date? {
        guard nextTurn > now, nextTurn.timeIntervalSince(now) <= Self.firstGap else { return nil }
        return nextTurn
    }
}
