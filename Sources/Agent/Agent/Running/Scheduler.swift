public import AgentModel
public import CronSchedule
public import Foundation
import HeapModule
import Logging
public import ServiceLifecycle

/// Holds the fire times of all schedules and hands out what is due. It sleeps until the next one: no tick.
///
/// The clock may be set: forwards, missed times are one run and not many; backwards, nothing fires twice, unless it was
/// set back by more than a day.
public actor Scheduler: Service {
    /// A schedule as a person sees it.
    public struct Entry: Sendable {
        public var task: TaskDocument
        /// Nil: never again.
        public var next: Date?
    }

    /// What becomes of a fire time that passed while the agent was down.
    public enum MissedRuns: String, Sendable, CaseIterable {
        case skip
        /// One run stands for all that were missed.
        case once
    }

    private struct Schedule {
        let task: TaskDocument
        let cron: CronSchedule
        var next: Int64?
        /// Seconds since 1970 of the last fire time, or of when the schedule was first seen.
        var last: Int64

        var nextTime: Date? { next.map { Date(timeIntervalSince1970: Double($0)) } }
    }

    private struct Fire: Comparable {
        let time: Int64
        let taskID: TaskID

        static func < (lhs: Fire, rhs: Fire) -> Bool { (lhs.time, lhs.taskID) < (rhs.time, rhs.taskID) }
    }

    private let clock: any WallClock
    private let zone: TimeZoneRules
    private let missedRuns: MissedRuns
    private let dispatch: @Sendable (PlannedRun) async -> Void
    private let alarm = Alarm()
    private var schedules: [TaskID: Schedule] = [:]
    /// May hold times of schedules that have changed since; they are passed over when they come up.
    private var fires = Heap<Fire>()
    /// The latest time that the clock has shown.
    private var latest = Int64.min

    /// In seconds. A fire time further ahead was one of a clock that was wrong: waiting for it would be waiting for
    /// years.
    private static let tolerance: Int64 = 86_400
    /// 2026-01-01. A clock that shows less has not been set since the host started, and says nothing of others.
    private static let earliest: Int64 = 1_767_225_600

    /// Whether a schedule fired last by a clock that was wrong.
    static func isAhead(_ lastFire: Date, of now: Date) -> Bool {
        isAhead(wholeSeconds(lastFire), of: wholeSeconds(now))
    }

    private static func isAhead(_ lastFire: Int64, of now: Int64) -> Bool {
        now >= earliest && lastFire > now + tolerance
    }

    private static func wholeSeconds(_ time: Date) -> Int64 { Int64(time.timeIntervalSince1970.rounded(.down)) }

    private var now: Int64 { Self.wholeSeconds(clock.now) }

    public init(
        clock: any WallClock, zone: TimeZoneRules, missedRuns: MissedRuns = .skip,
        dispatch: @escaping @Sendable (PlannedRun) async -> Void
    ) {
        self.clock = clock
        self.zone = zone
        self.missedRuns = missedRuns
        self.dispatch = dispatch
    }

    /// Makes these tasks the schedules: new ones are added, changed ones updated, missing ones taken off.
    ///
    /// - Parameter lastFires: by task id, when a schedule last fired or was first seen in an earlier life of the agent.
    /// - Returns: tasks whose expression is wrong; they have no schedule.
    public func replace(
        with tasks: [TaskDocument], lastFires: [TaskID: Date] = [:]
    ) -> [(task: TaskDocument, error: CronScheduleError)] {
        var problems: [(task: TaskDocument, error: CronScheduleError)] = []
        var kept: Set<TaskID> = []
        for task in tasks {
            guard let expression = task.cron else { continue }
            if let known = schedules[task.key], known.task.cron == expression {
                kept.insert(task.key)
                if known.task != task {
                    schedules[task.key] = Schedule(task: task, cron: known.cron, next: known.next, last: known.last)
                }
                continue
            }
            do throws(CronScheduleError) {
                add(task, try CronSchedule(expression), lastFire: lastFires[task.key])
                kept.insert(task.key)
            } catch {
                problems.append((task, error))
            }
        }
        schedules = schedules.filter { kept.contains($0.key) }
        // A backend that changes a far schedule at every poll must not grow the heap for ever.
        if fires.count > 2 * schedules.count + 64 {
            fires = Heap(
                schedules.values.compactMap { schedule in
                    schedule.next.map { Fire(time: $0, taskID: schedule.task.key) }
                })
        }
        alarm.ring()
        return problems
    }

    /// All schedules, in the order of their next fire times.
    public func entries() -> [Entry] {
        schedules.values
            .map { Entry(task: $0.task, next: $0.nextTime) }
            .sorted { ($0.next ?? .distantFuture, $0.task.id) < ($1.next ?? .distantFuture, $1.task.id) }
    }

    /// How many schedules there are, and those that fire next.
    func firstEntries(_ limit: Int) -> (total: Int, entries: [Entry]) {
        let first = schedules.values.min(limit) {
            ($0.next ?? .max, $0.task.id) < ($1.next ?? .max, $1.task.id)
        }
        return (schedules.count, first.map { Entry(task: $0.task, next: $0.nextTime) })
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await self.fireDue()
                await self.alarm.wait(until: await self.nextFireTime, clock: self.clock)
            }
        }
    }

    /// Gives all schedules new fire times where the clock was set back by more than a day.
    ///
    /// - Returns: whether it was.
    public func checkClock() -> Bool {
        let now = now
        guard now < latest, Self.isAhead(latest, of: now) else {
            latest = max(latest, now)
            return false
        }
        latest = now
        fires = Heap()
        for (id, var schedule) in schedules {
            if Self.isAhead(schedule.last, of: now) { schedule.last = now }
            schedule.next = schedule.cron.next(after: max(now, schedule.last), in: zone)
            schedules[id] = schedule
            push(schedule)
        }
        alarm.ring()
        return true
    }

    /// Hands out everything that is due now.
    public func fireDue() async {
        let now = now
        latest = max(latest, now)
        while let fire = fires.min, fire.time <= now {
            fires.removeMin()
            guard var schedule = schedules[fire.taskID], schedule.next == fire.time else { continue }
            schedule.last = fire.time
            // After now: times that passed while the clock jumped or the host slept are not made up one by one.
            schedule.next = schedule.cron.next(after: max(fire.time, now), in: zone)
            schedules[fire.taskID] = schedule
            push(schedule)
            await dispatch(
                PlannedRun(task: schedule.task, scheduledFor: Date(timeIntervalSince1970: Double(fire.time))))
        }
    }

    private var nextFireTime: Date? {
        fires.min.map { Date(timeIntervalSince1970: Double($0.time)) }
    }

    private func add(_ task: TaskDocument, _ cron: CronSchedule, lastFire: Date?) {
        let now = now
        latest = max(latest, now)
        var known = schedules[task.key]?.last ?? lastFire.map(Self.wholeSeconds)
        if let time = known, Self.isAhead(time, of: now) { known = now }
        let start =
            switch missedRuns {
            // Not before the last fire time, although the clock may have been set back since.
            case .skip: max(now, known ?? now)
            case .once: known ?? now
            }
        let schedule = Schedule(task: task, cron: cron, next: cron.next(after: start, in: zone), last: start)
        schedules[task.key] = schedule
        push(schedule)
    }

    private func push(_ schedule: Schedule) {
        if let next = schedule.next { fires.insert(Fire(time: next, taskID: schedule.task.key)) }
    }
}
