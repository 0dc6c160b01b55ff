import Foundation
import Testing

@testable import Agent

@Suite struct DeliveryPacingTests {
    private let now = Date(timeIntervalSince1970: 1_795_000_000)
    private var random = SystemRandomNumberGenerator()

    @Test mutating func theWidthGrowsWhileTheBackendAnswers() {
        var pacing = DeliveryPacing()
        var widths = [pacing.width]
        for _ in 0..<5 {
            pacing.note(Array(repeating: .answered, count: pacing.width), now: now, using: &random)
            widths.append(pacing.width)
        }
        #expect(widths == [1, 2, 4, 8, 8, 8])
        #expect(pacing.pauseEnd(now: now) == nil)
    }

    @Test mutating func anOutageLeavesOneProbeAndItsPausesGrow() {
        var pacing = DeliveryPacing()
        for _ in 0..<4 { pacing.note([.answered], now: now, using: &random) }
        pacing.note([.answered, .unavailable(retryAfter: nil)], now: now, using: &random)
        #expect(pacing.width == 1)
        // Full jitter: what is bounded is the longest pause.
        for outage in 1...12 {
            let pause = pacing.pausedUntil.timeIntervalSince(now)
            #expect(pause >= 0 && pause <= min(300, pow(2, Double(outage - 1))))
            pacing.note([.unavailable(retryAfter: nil)], now: now, using: &random)
        }
        pacing.note([.answered], now: now, using: &random)
        #expect(pacing.width == 2)
        #expect(pacing.pauseEnd(now: now) == nil)
    }

    @Test mutating func theBackendsOwnWordIsTaken() {
        var pacing = DeliveryPacing()
        pacing.note([.unavailable(retryAfter: 120), .unavailable(retryAfter: 90)], now: now, using: &random)
        #expect(pacing.pauseEnd(now: now) == now.addingTimeInterval(120))
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(120)) == nil)
        // The clock was set back by a month.
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(-2_600_000)) == nil)
    }

    @Test mutating func failuresOfResultsSlowDownAndDoNotStop() {
        var pacing = DeliveryPacing()
        for _ in 0..<4 { pacing.note([.answered], now: now, using: &random) }
        pacing.note([.failed, .answered], now: now, using: &random)
        #expect(pacing.width == 4)
        #expect(pacing.pauseEnd(now: now) == nil)
    }
}
