import Foundation
import HeapModule
import RunJournal
import Testing

@testable import Agent

@Suite struct DeliveryPacingTests {
    private let now = Date(timeIntervalSince1970: 1_795_000_000)
    private var random = SystemRandomNumberGenerator()
    private var pacing = DeliveryPacing()

    /// Sends as many results as there are verdicts, and then says what became of them.
    private mutating func note(_ verdicts: DeliveryPacing.Verdict..., at time: Date? = nil) {
        let time = time ?? now
        let runs = verdicts.map { _ in RunID() }
        for run in runs { pacing.send(run, now: time) }
        for (run, verdict) in zip(runs, verdicts) { pacing.note(verdict, of: run, now: time, using: &random) }
    }

    private mutating func widen() {
        while pacing.width < DeliveryPacing.widest { note(.answered) }
    }

    // MARK: The width

    @Test mutating func theWidthDoublesWithEveryRoundOfAnswers() {
        for width in [4, 8] {
            #expect(pacing.width == width)
            for _ in 0..<width { note(.answered) }
        }
        #expect(pacing.width == 16)
        for _ in 0..<100 { note(.answered) }
        #expect(pacing.width == DeliveryPacing.widest)
        #expect(pacing.turn(now: now) == .now)
    }

    @Test mutating func noMoreAreOnTheirWayThanTheWidthAllows() {
        widen()
        for _ in 0..<DeliveryPacing.widest { pacing.send(RunID(), now: now) }
        #expect(pacing.turn(now: now) == .at(now.addingTimeInterval(DeliveryPacing.companionDelay)))
    }

    /// A result that never gets an answer took one of the places for as long as `request_timeout`.
    @Test mutating func whoeverWasOvertakenHoldsBackNoOther() {
        widen()
        var hung: Set<RunID> = []
        while hung.count < DeliveryPacing.mostInFlight {
            guard pacing.turn(now: now) == .now else { break }
            let run = RunID()
            pacing.send(run, now: now)
            hung.insert(run)
            for _ in 0..<DeliveryPacing.widest where pacing.turn(now: now) == .now { note(.answered) }
        }
        // Not without end either: each holds a connection.
        #expect(hung.count > 100)
        #expect(pacing.inFlight <= DeliveryPacing.mostInFlight)
        #expect(pacing.outages == 0)
    }

    @Test mutating func aFailureAtTheStartIsNoOutage() {
        for _ in 1..<DeliveryPacing.fewestFailures {
            note(.failed(retryAfter: nil))
            #expect(pacing.outages == 0)
        }
        note(.failed(retryAfter: nil))
        #expect(pacing.outages == 1)
    }

    /// Ten that hung failed together when their time was over, and were taken for an outage.
    @Test mutating func whatOthersHaveOvertakenIsNoOutageWhenItFails() {
        widen()
        let hung = (0..<10).map { _ in RunID() }
        for run in hung { pacing.send(run, now: now) }
        for _ in 0..<2 * DeliveryPacing.widest { note(.answered) }
        for run in hung { pacing.note(.failed(retryAfter: nil), of: run, now: now, using: &random) }
        #expect(pacing.outages == 0 && pacing.width == DeliveryPacing.widest)
        #expect(pacing.turn(now: now) == .now)
    }

    @Test mutating func largeResultsOnTheirWayAreBoundedByTheirBytes() {
        widen()
        let first = RunID()
        pacing.send(first, size: DeliveryPacing.mostBytes, now: now)
        #expect(pacing.turn(now: now) == .later)
        pacing.note(.answered, of: first, now: now, using: &random)
        #expect(pacing.turn(now: now) == .now)
    }

    // MARK: Failures

    @Test mutating func aFailureIsTheFailureOfOneRequest() {
        widen()
        for _ in 0..<1000 {
            note(.failed(retryAfter: nil))
            for _ in 0..<5 { note(.answered) }
            #expect(pacing.outages == 0 && pacing.width == DeliveryPacing.widest)
            #expect(pacing.turn(now: now) == .now)
        }
    }

    @Test mutating func mostOfTheLastFailingIsAnOutage() {
        widen()
        for _ in 0..<DeliveryPacing.window { note(.answered) }
        var failures = 0
        while pacing.outages == 0, failures < 100 {
            note(.failed(retryAfter: nil))
            failures += 1
        }
        #expect(failures == DeliveryPacing.window / 2 + 1)
        #expect(pacing.width == 1)
    }

    @Test mutating func oneResultThatAlwaysFailsIsNoOutage() {
        widen()
        let poisoned = RunID()
        for _ in 0..<100 {
            pacing.send(poisoned, now: now)
            pacing.note(.failed(retryAfter: nil), of: poisoned, now: now, using: &random)
        }
        #expect(pacing.outages == 0)
        #expect(pacing.turn(now: now) == .now)
    }

    @Test mutating func nobodyThereIsAnOutageAtOnce() {
        widen()
        note(.unreachable)
        #expect(pacing.outages == 1)
        #expect(pacing.width == 1)
        // Full jitter: what is bounded is the longest pause.
        for outage in 1...12 {
            let pause = pacing.pausedUntil.timeIntervalSince(now)
            #expect(pause >= 0 && pause <= min(300, pow(2, Double(outage - 1))))
            note(.unreachable)
        }
        note(.answered)
        #expect(pacing.width == 2)
        #expect(pacing.outages == 0)
        #expect(pacing.pauseEnd(now: now) == nil)
    }

    @Test mutating func whatWasOnItsWayWhenTheBackendWentIsOneOutage() throws {
        widen()
        let runs = (0..<4).map { _ in RunID() }
        for run in runs { pacing.send(run, now: now) }
        pacing.note(.unreachable, of: runs[0], now: now, using: &random)
        pacing.note(.failed(retryAfter: 60), of: runs[1], now: now, using: &random)
        pacing.note(.answered, of: runs[2], now: now, using: &random)
        pacing.note(.failed(retryAfter: nil), of: runs[3], now: now, using: &random)
        #expect(pacing.outages == 1)
        #expect(pacing.width == 1)
        let pause = try #require(pacing.pauseEnd(now: now)).timeIntervalSince(now)
        #expect(60...66 ~= pause)
    }

    @Test mutating func theBackendsOwnWordIsTaken() throws {
        note(.failed(retryAfter: 90))
        let pause = try #require(pacing.pauseEnd(now: now)).timeIntervalSince(now)
        #expect(90...96 ~= pause)
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(pause)) == nil)
        // The clock was set back by a month.
        #expect(pacing.pauseEnd(now: now.addingTimeInterval(-2_600_000)) == nil)
    }

    /// "At once" from a backend that can't, again and again: it is asked as if it had said nothing.
    @Test mutating func noWaitAtAllIsNoLeaveToStorm() {
        for outage in 1...12 {
            note(.failed(retryAfter: 0))
            #expect(pacing.outages == outage)
        }
        var longest: TimeInterval = 0
        for _ in 0..<50 {
            note(.failed(retryAfter: 0))
            longest = max(longest, pacing.pausedUntil.timeIntervalSince(now))
        }
        #expect(longest > 30)
    }

    // MARK: Limits

    @Test mutating func aLimitSlowsDownAndStopsNothing() {
        widen()
        for _ in 0..<DeliveryPacing.window { note(.answered) }
        note(.limited(retryAfter: 1), .limited(retryAfter: 1), .limited(retryAfter: 1))
        // Sent before it became narrower, they are one limit.
        #expect(pacing.width == 8)
        #expect(pacing.outages == 0)
        #expect(pacing.turn(now: now) == .now)
        for _ in 0..<8 { note(.answered) }
        #expect(pacing.width == 16)
    }

    @Test mutating func aLimitThatMostRunIntoIsWaitedFor() throws {
        // One alone says no more than that its result waits.
        note(.limited(retryAfter: 30))
        #expect(pacing.outages == 0)
        note(.limited(retryAfter: 30))
        let pause = try #require(pacing.pauseEnd(now: now)).timeIntervalSince(now)
        #expect(30...36 ~= pause)
    }

    // MARK: Probes

    /// A slow one at the start held back all others until it answered, and one that failed was an outage.
    @Test mutating func whatComesFirstHoldsBackNoOther() {
        pacing.send(RunID(), now: now)
        #expect(pacing.turn(now: now) == .now)
        note(.failed(retryAfter: nil))
        #expect(pacing.turn(now: now) == .now)
    }

    /// At random 9 of 16 fail once in some 10,000 requests where 15 % do, and that was an outage.
    @Test mutating func noOutageIsSeenWhereOneInSevenFails() {
        var seeded = SeededGenerator(state: 20_261_128)
        widen()
        var outages = 0
        for _ in 0..<100_000 {
            note(Double.random(in: 0..<1, using: &seeded) < 0.15 ? .failed(retryAfter: nil) : .answered)
            // The next answer ends one.
            outages += pacing.outages
        }
        #expect(outages == 0)
    }

    /// A probe that was never answered held back all others for as long as `request_timeout`.
    @Test mutating func aProbeThatDoesNotAnswerGetsCompany() {
        // As after an outage.
        pacing.startOver(now: now)
        let probe = RunID()
        pacing.send(probe, now: now)
        #expect(pacing.turn(now: now.addingTimeInterval(1)) == .at(now.addingTimeInterval(2)))
        var (time, count) = (now, 0)
        while count < 100, case .at(let next) = pacing.turn(now: time), next < now.addingTimeInterval(60) {
            time = next
            pacing.send(RunID(), now: time)
            count += 1
        }
        // After 2, 6, 14 and 30 seconds.
        #expect(count == 4)
        // The clock was set back by a month.
        #expect(pacing.turn(now: now.addingTimeInterval(-2_600_000)) == .now)

        let answered = RunID()
        pacing.send(answered, now: time)
        pacing.note(.answered, of: answered, now: time, using: &random)
        for _ in 0..<4 { note(.answered, at: time) }
        #expect(pacing.turn(now: time) == .now)
        pacing.note(.failed(retryAfter: nil), of: probe, now: time, using: &random)
        #expect(pacing.outages == 0)
    }

    // MARK: After an outage

    /// The times at which results are sent one after the other, in seconds after the first answer.
    private mutating func sendTimes(afterOutageOf duration: TimeInterval) -> [TimeInterval] {
        note(.unreachable)
        let start = now.addingTimeInterval(duration)
        note(.answered, at: start)
        var (time, times): (Date, [TimeInterval]) = (start, [])
        while case .at(let turn) = pacing.turn(now: time) {
            time = turn
            times.append(time.timeIntervalSince(start))
            note(.answered, at: time)
        }
        return times
    }

    @Test mutating func afterALongOutageTheRateGrowsFromFourASecond() throws {
        #expect(pacing.turn(now: now) == .now, "without an outage there is no rate")
        let times = sendTimes(afterOutageOf: 600)
        #expect(times.count { $0 <= 1 } <= 5)
        #expect(200...400 ~= times.count)
        #expect(8...16 ~= times.last ?? 0)
        // The clock was set back by a month.
        #expect(pacing.turn(now: now.addingTimeInterval(-2_600_000)) == .now)
    }

    @Test mutating func afterAShortOutageItTakesAsLongAsThat() {
        #expect(sendTimes(afterOutageOf: 0.02).isEmpty)
        let times = sendTimes(afterOutageOf: 1)
        #expect(0.5...1.2 ~= times.last ?? 0)
    }

    /// Each has 100 results and has found the backend gone for ten minutes.
    @Test func aThousandAgentsComeBackWithoutAStorm() throws {
        struct Event: Comparable {
            var time: TimeInterval
            var agent: Int
            /// Nil: it looks whether it may send.
            var answered: RunID?

            static func < (lhs: Event, rhs: Event) -> Bool { lhs.time < rhs.time }
        }
        let (agents, results, outage, latency) = (1000, 100, 600.0, 0.05)
        var random = SeededGenerator(state: 20_261_127)
        var pacings = [DeliveryPacing](repeating: DeliveryPacing(), count: agents)
        var left = [Int](repeating: results, count: agents)
        var events = Heap((0..<agents).map { Event(time: Double($0) / Double(agents), agent: $0) })
        var requests: [Int: Int] = [:]
        var requestsOfAgent = [[Int: Int]](repeating: [:], count: agents)
        while let event = events.popMin() {
            let (agent, date) = (event.agent, now.addingTimeInterval(event.time))
            if let run = event.answered {
                let isDown = event.time < outage
                pacings[agent].note(isDown ? .unreachable : .answered, of: run, now: date, using: &random)
                if isDown { left[agent] += 1 }
            }
            looking: while left[agent] > 0 {
                switch pacings[agent].turn(now: date) {
                case .now:
                    let run = RunID()
                    pacings[agent].send(run, now: date)
                    left[agent] -= 1
                    requests[Int(event.time), default: 0] += 1
                    requestsOfAgent[agent][Int(event.time), default: 0] += 1
                    events.insert(Event(time: event.time + latency, agent: agent, answered: run))
                case .at(let next):
                    // Rounded up, so that it is due then.
                    events.insert(Event(time: next.timeIntervalSince(now) + 1e-6, agent: agent))
                    break looking
                case .later: break looking
                }
            }
        }
        #expect(left.allSatisfy { $0 == 0 })
        // While it is away, each agent asks once in some minutes: the last five of them.
        let during = (300..<600).map { requests[$0] ?? 0 }
        #expect(during.reduce(0, +) < agents * 5, "\(during.reduce(0, +)) in five minutes")
        // When it is back, as its agents find out one after the other.
        let after = requests.filter { $0.key >= 600 }
        let peak = after.values.max() ?? 0
        #expect(peak < agents * 2, "\(peak) in a second, of \(after.values.reduce(0, +)) in all")
        let first = requestsOfAgent.map { $0.filter { $0.key >= 600 }.min { $0.key < $1.key }?.value ?? 0 }
        #expect(first.allSatisfy { $0 <= 6 }, "\(first.max() ?? 0) of one agent in its first second")
    }
}

/// SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}
