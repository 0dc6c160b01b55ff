import Foundation
import RunJournal

/// How many results are on their way at the same time, and when none is to be sent at all.
///
/// A failure is the failure of one request. The backend as a whole is away when no connection can be made, or when most
/// of the last requests failed. Then one result at a time asks whether it is there again, and the others wait without an
/// attempt of their own. When it answers, what has gathered is sent slowly at first, by its number and by its rate, and
/// the longer the outage was the slower: a thousand agents that come back must not end what has just begun.
///
/// A value without a clock and without I/O: it is told what is sent and what became of it, and when that was.
struct DeliveryPacing: Sendable {
    // More than a dozen properties: the state of one algorithm.
    /// What became of a result that was sent.
    enum Verdict: Sendable {
        /// The backend has answered: it has taken the result, or refused it.
        case answered
        /// It could not take this one, for whatever reason: an error, the page of a proxy, a broken connection.
        ///
        /// - Parameter retryAfter: for how long the answer asks to wait, in seconds.
        case failed(retryAfter: TimeInterval?)
        /// It takes fewer than it is sent (`429`).
        case limited(retryAfter: TimeInterval?)
        /// Nobody is there, or nobody is let in: no connection, no login.
        case unreachable
        /// We broke it off ourselves, which says nothing.
        case cancelled
    }

    /// When the next result may be sent.
    enum Turn: Equatable, Sendable {
        case now
        case at(Date)
        /// When something is noted.
        case later
    }

    /// Requests that answer in the usual time, at the most.
    static let widest = 16
    /// Before anything is known: one that is slow, or fails, doesn't hold up the others. After an outage it is one.
    static let firstWidth = 4
    /// With those that take far longer than the others. The client has 256 connections at the most, and not for this alone.
    static let mostInFlight = 224
    /// Bytes of results on their way at the same time, past which no other is sent.
    static let mostBytes = 64 << 20
    /// How many may be on their way now, beside those that others have overtaken.
    private(set) var width = firstWidth
    /// How often in a row the backend wasn't there.
    private(set) var outages = 0
    /// Nothing is sent before.
    private(set) var pausedUntil = Date.distantPast

    private struct Flight {
        let run: RunID
        let size: Int
        /// `taken` when it was sent.
        let taken: Int
        let narrowings: Int
        /// It was sent before the backend was found to be away: its end says nothing of what holds now.
        var isPast = false
    }

    private var flights: [Flight] = []
    private var bytesInFlight = 0
    /// Answers since the beginning.
    private var taken = 0
    /// Those since the last change of width.
    private var takenAtThisWidth = 0
    /// How often `429` has made the width smaller.
    private var narrowings = 0
    /// What became of the last results, the newest last; nil is an answer.
    private var last: [RunID?] = []
    private var awaySince: Date?
    /// Between two results after an outage, in seconds; 0 where none was, or where it is long over.
    private var gap: TimeInterval = 0
    private var nextTurn = Date.distantPast
    private var lastSent = Date.distantPast
    /// Sent beside others that don't answer, since the last answer.
    private var companions = 0

    /// The last requests that count.
    static let window = 32
    /// Fewer say nothing, unless all of them failed, and there are ``fewestFailures``.
    private static let fewest = 8
    static let fewestFailures = 2
    /// Others that a request was overtaken by, at the least, before it counts as slow.
    private static let fewestOvertaking = 4
    /// A request that doesn't answer gets company after so many seconds, and then after twice as many.
    static let companionDelay: TimeInterval = 2
    /// Four in a second after an outage of 12 seconds or more, and each comes 2 % sooner than the last: after 12 seconds
    /// and 270 results the rate has no bound. After a shorter outage this takes as long as the outage did.
    private static let firstGap: TimeInterval = 0.25
    private static let gapFactor = 0.98
    private static let lastGap: TimeInterval = 0.001
    private static let longestPause: TimeInterval = 86_400

    /// How many are on their way.
    var inFlight: Int { flights.count }

    // MARK: What happens

    /// A result of so many bytes is on its way now.
    mutating func send(_ run: RunID, size: Int = 0, now: Date) {
        if occupied >= width { companions += 1 }
        flights.append(Flight(run: run, size: size, taken: taken, narrowings: narrowings))
        bytesInFlight += size
        lastSent = now
        guard gap > 0 else { return }
        nextTurn = now.addingTimeInterval(gap)
        gap = gap * Self.gapFactor < Self.lastGap ? 0 : gap * Self.gapFactor
    }

    /// Takes what became of a result that was sent.
    mutating func note(
        _ verdict: Verdict, of run: RunID, now: Date, using random: inout some RandomNumberGenerator
    ) {
        // Requests that hang are at the front: search from the back.
        guard let index = flights.lastIndex(where: { $0.run == run }) else { return }
        let flight = flights.remove(at: index)
        bytesInFlight -= flight.size
        if flight.isPast {
            // Many that were on their way when the backend went are one outage. The longest of what it asks for counts.
            if let asked = verdict.retryAfter, outages > 0 {
                pausedUntil = max(pausedUntil, now.addingTimeInterval(min(asked, Self.longestPause)))
            }
            return
        }
        // Answers to others that were sent later say more of the backend than that one which hung has come to nothing.
        if verdict.isFailure, isOvertaken(flight) { return }
        switch verdict {
        case .cancelled: break
        case .answered:
            remember(nil)
            isAnswering(now: now)
            taken += 1
            takenAtThisWidth += 1
            if takenAtThisWidth >= width, width < Self.widest { change(width: width * 2) }
        case .failed(let asked):
            remember(run)
            // `Retry-After` alone is enough while nothing has been answered.
            if mostFail || asked != nil && allFail { isAway(asked: asked, now: now, using: &random) }
        case .limited(let asked):
            remember(run)
            if mostFail {
                isAway(asked: asked, now: now, using: &random)
            } else if flight.narrowings == narrowings {
                // Those that were sent before it became narrower say it again.
                narrowings += 1
                change(width: max(1, width / 2))
            }
        case .unreachable: isAway(asked: nil, now: now, using: &random)
        }
    }

    /// Forgets the outage: what is on its way says nothing any more.
    mutating func startOver(now: Date) {
        for index in flights.indices { flights[index].isPast = true }
        last.removeAll()
        isAnswering(now: now)
        change(width: 1)
    }

    private mutating func remember(_ failure: RunID?) {
        // One result that always fails says no more of the backend than when it failed first.
        if failure != nil, last.contains(failure) { return }
        last.append(failure)
        if last.count > Self.window { last.removeFirst() }
    }

    private var mostFail: Bool {
        let failed = last.count { $0 != nil }
        if last.count >= Self.fewest { return failed * 2 > last.count }
        // One failure alone, as at the start, is no outage; while there is one, each probe says whether it goes on.
        return allFail && (outages > 0 || failed >= Self.fewestFailures)
    }

    private var allFail: Bool { !last.contains(nil) }

    private mutating func isAway(asked: TimeInterval?, now: Date, using random: inout some RandomNumberGenerator) {
        outages += 1
        if awaySince == nil { awaySince = now }
        // No more than a day, whatever a broken backend asks for.
        let pause = min(Backoff.delay(afterFailures: outages, notBefore: asked, using: &random), Self.longestPause)
        pausedUntil = now.addingTimeInterval(pause)
        for index in flights.indices { flights[index].isPast = true }
        last.removeAll()
        companions = 0
        change(width: 1)
    }

    private mutating func isAnswering(now: Date) {
        companions = 0
        guard outages > 0 else { return }
        let duration = awaySince.map { max(0, now.timeIntervalSince($0)) } ?? 0
        // The sum of all gaps is the duration.
        gap = min(Self.firstGap, duration * (1 - Self.gapFactor))
        if gap < Self.lastGap { gap = 0 }
        nextTurn = now.addingTimeInterval(gap)
        awaySince = nil
        outages = 0
        pausedUntil = .distantPast
    }

    private mutating func change(width: Int) {
        self.width = min(width, Self.widest)
        takenAtThisWidth = 0
    }

    // MARK: What may be done

    /// When something may be sent after a pause; nil for now. A clock that was set back ends the pause.
    func pauseEnd(now: Date) -> Date? {
        guard pausedUntil > now, pausedUntil.timeIntervalSince(now) <= Self.longestPause else { return nil }
        return pausedUntil
    }

    /// When the next result may be sent, another than those that are on their way.
    func turn(now: Date) -> Turn {
        if let end = pauseEnd(now: now) { return .at(end) }
        // A clock that was set back ends the wait.
        if nextTurn > now, nextTurn.timeIntervalSince(now) <= Self.firstGap { return .at(nextTurn) }
        guard flights.count < Self.mostInFlight, bytesInFlight < Self.mostBytes else { return .later }
        if occupied < width { return .now }
        // Whether nobody answers, or only those few, shows another one. Not many: they may hang for a minute each.
        let delay = Self.companionDelay * pow(2, Double(min(companions, 16)))
        let due = lastSent.addingTimeInterval(delay)
        return due <= now || lastSent > now ? .now : .at(due)
    }

    /// How many on their way are not known to be exceptions. Whoever was overtaken by as many others as may be on their
    /// way holds back none: it is slow and not the backend.
    private var occupied: Int {
        // In the order in which they were sent: what was overtaken, or is past, stands in front.
        var count = 0
        for flight in flights.reversed() {
            if flight.isPast || isOvertaken(flight) { break }
            count += 1
        }
        return count
    }

    private func isOvertaken(_ flight: Flight) -> Bool { taken - flight.taken >= max(width, Self.fewestOvertaking) }
}

extension DeliveryPacing.Verdict {
    /// Of one request.
    fileprivate var isFailure: Bool {
        switch self {
        case .failed, .limited: true
        case .answered, .unreachable, .cancelled: false
        }
    }

    fileprivate var retryAfter: TimeInterval? {
        switch self {
        case .failed(let asked), .limited(let asked): asked
        case .answered, .unreachable, .cancelled: nil
        }
    }
}
