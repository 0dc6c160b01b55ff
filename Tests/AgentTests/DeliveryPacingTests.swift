import Foundation
import RunJournal
import Testing

@testable import Agent

@Suite struct DeliveryPacingTests {
    private let now = Date(timeIntervalSince1970: 1_795_000_000)
    private var random = SystemRandomNumberGenerator()
    private var pacing = DeliveryPacing()

    /// What became of results that were sent together.
    private mutating func note(_ verdicts: DeliveryPacing.Verdict...) {
        let sent = pacing.period
        for verdict in verdicts { pacing.note(verdict, sentIn: sent, now: now, using: &random) }
    }

    private mutating func widen() {
        while pacing.width < DeliveryPacing.widest { note(.answered) }
    }

    @Test mutating func theWidthDoublesWithEveryRoundOfAnswers() {
        for width in [1, 2, 4, 8] {
            #expect(pacing.width == width)
            for _ in 0..<width { note(.answered) }
        }
        #expect(pacing.width == 16)
        for _ in 0..<100 { note(.answered) }
        #expect(pacing.width == DeliveryPacing.widest)
        #expect(pacing.pauseEnd(now: now) == nil)
    }

    @Test mutating func anOutageLeavesOneProbeAndItsPausesGrow() {
        widen()
        note(.unavailable(retryAfter: nil))
        #expect(pacing.width == 1)
        // Full jitter: what is bounded is the longest pause.
        for outage in 1...12 {
            let pause = pacing.pausedUntil.timeIntervalSince(now)
            #expect(pause >= 0 && pause <= min(300, pow(2, Double(outage - 1))))
            note(.unavailable(retryAfter: nil))
        }
        note(.answered)
        #expect(pacing.width == 2)
        #expect(pacing.outages == 0)
        #expect(pacing.pauseEnd(now: now) == nil)
    }

    @Test mutating func whatWasOnItsWayWhenTheBackendWentIsOneOutage() throws {
        widen()
        note(.unavailable(retryAfter: 60), .unavailable(retryAfter: 60), .answered, .unavailable(retryAfter: 60))
        #expect(pacing.outages == 1)
        #expect(pacing.width == 1)
        let pause = try #require(pacing.pauseEnd(now: now)).timeIntervalSince(now)
        #expect(60...66 ~= pause)
    }

    @Test mutating func theBackendsOwnWordIsTaken() throws {
        note(.unavailable(retryAfter: 90), .unavailable(retryAfter: 120), .unavailable(retryAfter: 30))
        let pause = try #require(pacing.pauseEnd(now: now)).timeIntervalSince(now)
        #expect(120...126 ~= pause)
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(pause)) == nil)
        // The clock was set back by a month.
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(-2_600_000)) == nil)
    }

    /// "At once" from a backend that can't, again and again: it is asked as if it had said nothing.
    @Test mutating func noWaitAtAllIsNoLeaveToStorm() {
        for outage in 1...12 {
            note(.unavailable(retryAfter: 0))
            #expect(pacing.outages == outage)
        }
        var longest: TimeInterval = 0
        for _ in 0..<50 {
            note(.unavailable(retryAfter: 0))
            longest = max(longest, pacing.pausedUntil.timeIntervalSince(now))
        }
        #expect(longest > 30)
    }

    @Test mutating func failuresOfResultsSlowDownAndDoNotStop() {
        widen()
        note(.failed(RunID()), .failed(RunID()), .answered)
        #expect(pacing.width == 8)
        #expect(pacing.pauseEnd(now: now) == nil)
    }

    @Test mutating func manyResultsThatFailInARowAreAnOutage() {
        widen()
        for _ in 1..<DeliveryPacing.failuresOfOutage { note(.failed(RunID())) }
        #expect(pacing.outages == 0)
        for outage in 1...12 {
            note(.failed(RunID()))
            #expect(pacing.outages == outage)
            #expect(pacing.width == 1)
        }
        #expect(pacing.pausedUntil.timeIntervalSince(now) <= 300)
        note(.answered)
        #expect(pacing.outages == 0)
        note(.failed(RunID()))
        #expect(pacing.outages == 0, "a row begins anew")
    }

    @Test mutating func oneResultThatAlwaysFailsIsNoOutage() {
        widen()
        let poisoned = RunID()
        for _ in 0..<100 { note(.failed(poisoned)) }
        #expect(pacing.outages == 0)
        #expect(pacing.pauseEnd(now: now) == nil)
    }

    @Test mutating func failuresBetweenSuccessesAreNoOutage() {
        for _ in 0..<100 { note(.failed(RunID()), .answered) }
        #expect(pacing.outages == 0)
    }

    @Test mutating func afterAnOutageTheRateGrowsFromFourASecond() throws {
        #expect(pacing.turn(now: now) == nil, "without an outage there is no rate")
        note(.unavailable(retryAfter: nil), .unavailable(retryAfter: nil))
        note(.answered)
        var time = now
        var times: [TimeInterval] = []
        while let turn = pacing.turn(now: time) {
            time = turn
            times.append(time.timeIntervalSince(now))
            pacing.send(now: time)
        }
        #expect(times.filter { $0 <= 1 }.count <= 5)
        #expect(200...400 ~= times.count)
        #expect(8...16 ~= times.last ?? 0)
        // The clock was set back by a month.
        #expect(pacing.turn(now: now.addingTimeInterval(-2_600_000)) == nil)
    }
}
