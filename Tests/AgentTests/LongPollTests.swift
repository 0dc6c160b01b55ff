import Testing

@testable import Agent

@Suite struct LongPollTests {
    @Test func aBackendThatHoldsRequestsIsAskedAgainAtOnce() {
        var poll = LongPoll()
        #expect(poll.wait == .seconds(50))
        #expect(held(&poll, for: .seconds(48)) == .none)
        #expect(changed(&poll, after: .milliseconds(3)) == .none)
        #expect(poll.isHeld)
    }

    @Test func anyOtherIsAskedEveryPollInterval() {
        var poll = LongPoll()
        let outcome = poll.answered(isApplied: false, hasChanged: true, closes: false, after: .milliseconds(3))
        #expect(outcome.pause == .pollInterval)
        #expect(poll.wait == .seconds(50), "it may be replaced by one that does")
        #expect(poll.failed(isCut: true).pause == .pollInterval)
    }

    /// Two hosts with one identity end each other's waits.
    @Test func waitsThatEndEarlyLeadToPausesThatGrow() {
        var poll = LongPoll()
        var pauses: [LongPoll.Pause] = []
        var notices: [LongPoll.Notice] = []
        for _ in 0..<8 {
            let outcome = poll.answered(isApplied: true, hasChanged: false, closes: false, after: .milliseconds(5))
            pauses.append(outcome.pause)
            if let notice = outcome.notice { notices.append(notice) }
        }
        #expect(pauses.prefix(4) == [.upTo(.seconds(2)), .upTo(.seconds(4)), .upTo(.seconds(8)), .upTo(.seconds(16))])
        #expect(pauses.last == .upTo(.seconds(60)))
        #expect(notices == [.endedEarly])
        #expect(held(&poll, for: .seconds(49)) == .none)
    }

    @Test func aBackendThatStopsIsNoSecondHost() {
        var poll = LongPoll()
        for _ in 0..<3 {
            let outcome = poll.answered(isApplied: true, hasChanged: false, closes: true, after: .milliseconds(5))
            #expect(outcome.pause == .upTo(.seconds(2)) && outcome.notice == nil)
        }
    }

    @Test func aProxyThatCutsIsAskedForShorterWaitsAndThenPolled() {
        var poll = LongPoll()
        _ = held(&poll, for: .seconds(49))
        var waits: [Duration?] = []
        var notices: [LongPoll.Notice] = []
        for _ in 0..<8 {
            if let notice = poll.failed(isCut: true).notice { notices.append(notice) }
            waits.append(poll.wait)
        }
        let seconds: [Int?] = [50, 25, 25, 12, 12, 10, 10, nil]
        #expect(waits.map { $0.map { Int($0.components.seconds) } } == seconds)
        #expect(notices.last == .givenUp && notices.count == 4)
        #expect(poll.answered(isApplied: true, hasChanged: false, closes: false, after: .zero).pause == .pollInterval)
    }

    @Test func oneCutInAWhileChangesNothing() {
        var poll = LongPoll()
        for _ in 0..<5 {
            _ = held(&poll, for: .seconds(49))
            #expect(poll.failed(isCut: true).pause == .upTo(.seconds(2)))
        }
        #expect(poll.wait == .seconds(50))
    }

    @Test func aBackendThatIsGoneIsAskedLessAndLessOften() {
        var poll = LongPoll()
        _ = held(&poll, for: .seconds(49))
        let pauses = (0..<8).map { _ in poll.failed(isCut: false).pause }
        #expect(pauses.prefix(3) == [.upTo(.seconds(2)), .upTo(.seconds(4)), .upTo(.seconds(8))])
        #expect(pauses.last == .upTo(.seconds(60)))
        #expect(held(&poll, for: .seconds(49)) == .none)
        #expect(poll.failed(isCut: false).pause == .upTo(.seconds(2)))
    }

    /// Whatever a backend does, the agent is not kept busy by it.
    @Test func aListThatIsAnotherOneEachTimeIsNoBusyLoop() {
        var poll = LongPoll()
        let pauses = (0..<200).map { _ in changed(&poll, after: .milliseconds(1)) }
        #expect(pauses.prefix(50).allSatisfy { $0 == .none })
        #expect(pauses.dropFirst(50).allSatisfy { $0 == .upTo(.seconds(2)) })
        #expect(changed(&poll, after: .seconds(2)) == .none)
    }

    /// A thousand agents that lost the same backend don't come back in one moment.
    @Test func pausesAreSpreadOverTheirWholeLength() {
        let pauses = [0, 0.25, 0.5, 1].map {
            LongPoll.Pause.upTo(.seconds(5)).duration(pollInterval: .seconds(30), random: $0)
        }
        #expect(pauses == [.seconds(1), .seconds(2), .seconds(3), .seconds(5)])
        #expect(LongPoll.Pause.none.duration(pollInterval: .seconds(30), random: 1) == .zero)
        #expect(LongPoll.Pause.pollInterval.duration(pollInterval: .seconds(30), random: 0) == .seconds(27))
    }

    /// A proxy that cut waits may be gone.
    @Test func waitsThatWereShortenedOrGivenUpBecomeLongAgain() {
        var poll = LongPoll()
        _ = held(&poll, for: .seconds(49))
        while poll.wait != nil { _ = poll.failed(isCut: true) }
        for _ in 0..<119 { poll.polled() }
        #expect(poll.wait == nil)
        poll.polled()
        #expect(poll.wait == .seconds(10))
        for wait in [20, 40, 50] {
            for _ in 0..<120 { _ = held(&poll, for: .seconds(49)) }
            #expect(poll.wait == .seconds(wait))
        }
        for _ in 0..<500 { _ = held(&poll, for: .seconds(49)) }
        #expect(poll.wait == .seconds(50))
    }

    private func held(_ poll: inout LongPoll, for duration: Duration) -> LongPoll.Pause {
        poll.answered(isApplied: true, hasChanged: false, closes: false, after: duration).pause
    }

    /// Commands that a person runs one after the other, also a thousand, are heard of at once or after a breath.
    @Test func realChangesAreFollowed() {
        var poll = LongPoll()
        var pauses: [LongPoll.Pause] = []
        for _ in 0..<1000 {
            pauses.append(
                poll.answered(
                    isApplied: true, hasChanged: true, isNew: true, closes: false, after: .milliseconds(5)
                ).pause)
        }
        #expect(pauses.prefix(40).allSatisfy { $0 == .none })
        #expect(pauses.suffix(500).allSatisfy { $0 == .none || $0 == .breath })
        // No more than some 50 a second.
        #expect(pauses.suffix(500).count { $0 == .breath } > 300)
        #expect(LongPoll.Pause.breath.duration(pollInterval: .seconds(30), random: 0) >= .milliseconds(20))
        // Slower ones have none.
        var slow = LongPoll()
        for _ in 0..<1000 {
            let pause = slow.answered(
                isApplied: true, hasChanged: true, isNew: true, closes: false, after: .milliseconds(50)
            ).pause
            #expect(pause == .none)
        }
    }

    private func changed(_ poll: inout LongPoll, after duration: Duration) -> LongPoll.Pause {
        poll.answered(isApplied: true, hasChanged: true, closes: false, after: duration).pause
    }
}
