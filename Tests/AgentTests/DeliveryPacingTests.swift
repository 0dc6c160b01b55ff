import Foundation
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

    @Test mutating func whatWasOnItsWayWhenTheBackendWentIsOneOutage() {
        widen()
        note(.unavailable(retryAfter: 60), .unavailable(retryAfter: 60), .answered, .unavailable(retryAfter: 60))
        #expect(pacing.outages == 1)
        #expect(pacing.width == 1)
        #expect(pacing.pauseEnd(now: now) == now.addingTimeInterval(60))
    }

    @Test mutating func theBackendsOwnWordIsTaken() {
        note(.unavailable(retryAfter: 90), .unavailable(retryAfter: 120), .unavailable(retryAfter: 30))
        #expect(pacing.pauseEnd(now: now) == now.addingTimeInterval(120))
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(120)) == nil)
        // The clock was set back by a month.
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(-2_600_000)) == nil)
    }

    @Test mutating func failuresOfResultsSlowDownAndDoNotStop() {
        widen()
        note(.failed, .failed, .answered)
        #expect(pacing.width == 8)
        #expect(pacing.pauseEnd(now: now) == nil)
    }
}
