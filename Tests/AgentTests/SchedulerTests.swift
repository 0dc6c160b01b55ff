import Agent
import AgentModel
import AgentTestSupport
import CronSchedule
import Diagnostics
import Foundation
import Synchronization
import Testing

@Suite struct SchedulerTests {
    /// What a scheduler handed out.
    private final class Fired: Sendable {
        private let runs = Mutex<[PlannedRun]>([])
        var all: [PlannedRun] { runs.withLock { $0 } }
        var times: [String] { all.compactMap { $0.scheduledFor.map(RFC3339.string(from:)) } }
        func add(_ run: PlannedRun) { runs.withLock { $0.append(run) } }
    }

    private func makeScheduler(
        _ clock: ManualClock, missedRuns: Scheduler.MissedRuns = .skip
    ) -> (Scheduler, Fired) {
        let fired = Fired()
        return (Scheduler(clock: clock, zone: .utc, missedRuns: missedRuns) { fired.add($0) }, fired)
    }

    private func task(_ id: String, _ cron: String, arguments: String = "{}") -> TaskDocument {
        TaskDocument(id: id, command: "p.c", cron: cron, arguments: arguments)
    }

    @Test func firesAtTheFullMinuteAndNotBefore() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        _ = await scheduler.replace(with: [task("a", "* * * * *")])
        clock.advance(by: 29)
        await scheduler.fireDue()
        #expect(fired.all.isEmpty)
        clock.advance(by: 1)
        await scheduler.fireDue()
        #expect(fired.times == ["2026-11-23T21:08:00.000Z"])
    }

    @Test func aClockSetForwardByHoursIsOneRun() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        _ = await scheduler.replace(with: [task("a", "* * * * *")])
        clock.advance(by: 5 * 3600)
        await scheduler.fireDue()
        await scheduler.fireDue()
        #expect(fired.all.count == 1)
        clock.advance(by: 60)
        await scheduler.fireDue()
        #expect(fired.times.last == "2026-11-24T02:08:00.000Z")
    }

    @Test func aClockSetBackFiresNothingTwice() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        _ = await scheduler.replace(with: [task("a", "* * * * *")])
        clock.advance(by: 30)
        await scheduler.fireDue()
        clock.advance(by: -3 * 3600)
        await scheduler.fireDue()
        // Also where the backend changes the schedule meanwhile.
        _ = await scheduler.replace(with: [task("a", "*/1 * * * *")])
        clock.advance(by: 3 * 3600)
        await scheduler.fireDue()
        #expect(fired.times == ["2026-11-23T21:08:00.000Z"])
        clock.advance(by: 60)
        await scheduler.fireDue()
        #expect(fired.times == ["2026-11-23T21:08:00.000Z", "2026-11-23T21:09:00.000Z"])
    }

    @Test func changedTasksAreUpdatedAndMissingOnesTakenOff() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        _ = await scheduler.replace(with: [task("a", "* * * * *"), task("b", "* * * * *")])
        _ = await scheduler.replace(with: [task("a", "* * * * *", arguments: #"{"x":1}"#)])
        clock.advance(by: 60)
        await scheduler.fireDue()
        #expect(fired.all.map(\.task) == [task("a", "* * * * *", arguments: #"{"x":1}"#)])
    }

    @Test func argumentsThatOnlyLookTheSameAreTakenOver() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        let (one, two) = ("{\"x\":\"caf\u{E9}\"}", "{\"x\":\"cafe\u{301}\"}")
        _ = await scheduler.replace(with: [task("a", "* * * * *", arguments: one)])
        _ = await scheduler.replace(with: [task("a", "* * * * *", arguments: two)])
        clock.advance(by: 60)
        await scheduler.fireDue()
        #expect(fired.all.map { Array($0.task.arguments.utf8) } == [Array(two.utf8)])
    }

    @Test func schedulesWhoseIDsOnlyLookTheSameAreTwo() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        _ = await scheduler.replace(with: [task("caf\u{E9}", "* * * * *"), task("cafe\u{301}", "* * * * *")])
        clock.advance(by: 60)
        await scheduler.fireDue()
        #expect(fired.all.count == 2)
    }

    @Test func aWrongExpressionIsReportedAndTheOthersGoOn() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        let problems = await scheduler.replace(with: [task("bad", "61 * * * *"), task("good", "* * * * *")])
        #expect(problems.map(\.task.id) == ["bad"])
        #expect(problems.first?.error.code == "task.invalid_cron")
        clock.advance(by: 60)
        await scheduler.fireDue()
        #expect(fired.all.map(\.task.id) == ["good"])
    }

    @Test func aFireTimeMissedWhileTheAgentWasDownIsPassedOverOrMadeUpOnce() async {
        for (policy, count) in [(Scheduler.MissedRuns.skip, 0), (.once, 1)] {
            let clock = ManualClock("2026-11-23T21:07:30Z")
            let (scheduler, fired) = makeScheduler(clock, missedRuns: policy)
            let last = clock.now.addingTimeInterval(-7200)
            _ = await scheduler.replace(with: [task("a", "* * * * *")], lastFires: ["a": last])
            await scheduler.fireDue()
            #expect(fired.all.count == count, "\(policy)")
        }
    }

    @Test func theServiceSleepsUntilTheNextFireTime() async throws {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (stream, continuation) = AsyncStream.makeStream(of: PlannedRun.self)
        let scheduler = Scheduler(clock: clock, zone: .utc) { continuation.yield($0) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await scheduler.run() }
            _ = await scheduler.replace(with: [task("a", "* * * * *")])
            await clock.waitForSleeper()
            clock.advance(by: 30)
            var runs = stream.makeAsyncIterator()
            let run = await runs.next()
            #expect(run?.task.id == "a")
            group.cancelAll()
        }
    }

    @Test func aHundredThousandSchedulesKeepTheirOrder() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        let tasks = (0..<100_000).map { task("\($0)", "\($0 % 60) \($0 / 60 % 24) * * *") }
        _ = await scheduler.replace(with: tasks)
        clock.advance(by: 60)
        await scheduler.fireDue()
        // 21:08 is minute 1268 of the day.
        #expect(fired.all.count == tasks.count { $0.cron == "8 21 * * *" })
        #expect(fired.times.allSatisfy { $0 == "2026-11-23T21:08:00.000Z" })
    }

    /// A clock that once showed 2099 must not silence a schedule until then.
    @Test func aLastFireTimeFarAheadCountsFromNow() async {
        for policy in Scheduler.MissedRuns.allCases {
            let clock = ManualClock("2026-11-23T21:07:30Z")
            let (scheduler, fired) = makeScheduler(clock, missedRuns: policy)
            _ = await scheduler.replace(
                with: [task("a", "* * * * *")], lastFires: ["a": clock.now.addingTimeInterval(73 * 365 * 86_400)])
            await scheduler.fireDue()
            #expect(fired.all.isEmpty)
            clock.advance(by: 30)
            await scheduler.fireDue()
            #expect(fired.times == ["2026-11-23T21:08:00.000Z"])
        }
    }

    @Test func aLastFireTimeHoursAheadFiresNothingTwice() async {
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        let last = clock.now.addingTimeInterval(23 * 3600)
        _ = await scheduler.replace(with: [task("a", "* * * * *")], lastFires: ["a": last])
        clock.advance(by: 22 * 3600)
        await scheduler.fireDue()
        #expect(fired.all.isEmpty)
        clock.advance(by: 3600 + 30)
        await scheduler.fireDue()
        #expect(fired.all.count == 1)
    }

    /// Before it has been set, the clock of a host without a battery says nothing of a last fire time.
    @Test func aClockThatIsNotSetYetMovesNoLastFireTime() async {
        let clock = ManualClock("1970-01-01T00:00:10Z")
        let (scheduler, fired) = makeScheduler(clock)
        let last = ManualClock("2026-11-23T21:08:00Z").now
        _ = await scheduler.replace(with: [task("a", "8 21 * * *")], lastFires: ["a": last])
        clock.set(last.addingTimeInterval(3600))
        await scheduler.fireDue()
        #expect(fired.all.isEmpty)
        clock.set(last.addingTimeInterval(86_400))
        await scheduler.fireDue()
        #expect(fired.all.count == 1)
    }

    @Test func aClockSetBackByYearsUnderTheAgentSilencesNothing() async {
        let clock = ManualClock("2099-11-23T21:07:30Z")
        let (scheduler, fired) = makeScheduler(clock)
        _ = await scheduler.replace(with: [task("a", "* * * * *")])
        clock.advance(by: 30)
        await scheduler.fireDue()
        #expect(await !scheduler.checkClock())
        clock.set(ManualClock("2026-11-23T21:07:30Z").now)
        #expect(await scheduler.checkClock())
        #expect(await !scheduler.checkClock())
        await scheduler.fireDue()
        #expect(fired.all.count == 1)
        clock.advance(by: 30)
        await scheduler.fireDue()
        #expect(fired.times.last == "2026-11-23T21:08:00.000Z")
    }
}
