import AgentModel
import DequeModule
import Foundation
import Testing

@testable import Agent

@Suite struct RunQueueTests {
    private static let short = RunQueue.Cost(duration: .microseconds(10), size: 10)
    private static let long = RunQueue.Cost(duration: .seconds(1), size: 10)

    private func group(_ plugin: String) throws -> RunQueue.Group { .plugin(try PluginID(plugin)) }

    private func oneOff(_ id: String, arguments: String = "{}") -> PlannedRun {
        PlannedRun(task: TaskDocument(id: id, command: "c", cron: nil, arguments: arguments))
    }

    private func scheduled(_ id: String) -> PlannedRun {
        PlannedRun(
            task: TaskDocument(id: id, command: "c", cron: "* * * * *"), scheduledFor: Date(timeIntervalSince1970: 0))
    }

    /// Lines one-offs up, named by their plugin and a number.
    private func fill(_ queue: HeldQueue, _ plugin: String, _ count: Int) throws {
        for number in 0..<count {
            let run = oneOff("\(plugin)-\(number)")
            _ = queue.hold(run)
            queue.queue(run, in: try group(plugin))
        }
    }

    /// Carries everything out, as a plugin of such calls does it, and returns the tasks in the order in which they began.
    private func runAll(_ queue: HeldQueue, cost: RunQueue.Cost) -> [String] {
        var order: [String] = []
        var started = Deque(queue.admit())
        while let start = started.popFirst() {
            order.append(start.run.task.id)
            queue.leave(start.run, after: cost)
            queue.finish(start.run)
            started.append(contentsOf: queue.admit())
        }
        return order
    }

    // MARK: Runs that are cancelled

    @Test func whatIsCancelledHasItsTurnAtOnce() throws {
        let queue = HeldQueue(workers: 1)
        try fill(queue, "a", 3)
        #expect(queue.admit().map(\.run.task.id) == ["a-0"])
        let run = try #require(queue.startAtOnce("a-2"))
        #expect(queue.inMemory == 2 && queue.startAtOnce("a-2") == nil && queue.startAtOnce("a-0") == nil)
        // Whoever looked for its plugin meanwhile comes back with it.
        queue.queue(run, in: try group("a"))
        _ = queue.wait(run, reason: "its plugin is on its way")
        queue.leave(run, after: nil)
        queue.finish(run)
        #expect(queue.inMemory == 1 && queue.waitingCount == 0)
        queue.leave(oneOff("a-0"), after: Self.long)
        queue.finish(oneOff("a-0"))
        #expect(queue.admit().map(\.run.task.id) == ["a-1"])
        queue.leave(oneOff("a-1"), after: Self.long)
        queue.finish(oneOff("a-1"))
        #expect(queue.admit().isEmpty && queue.inMemory == 0 && queue.holdsOnlyWaiting)
    }

    @Test func aScheduleIsNotCancelledByItsTask() throws {
        let queue = HeldQueue(workers: 1)
        let run = scheduled("s")
        _ = queue.hold(run)
        queue.queue(run, in: try group("a"))
        #expect(queue.startAtOnce("s") == nil)
    }

    // MARK: Turns

    @Test func pluginsTakeTurns() throws {
        let queue = HeldQueue(workers: 1)
        try fill(queue, "a", 3)
        try fill(queue, "b", 2)
        #expect(runAll(queue, cost: Self.long) == ["a-0", "b-0", "a-1", "b-1", "a-2"])
        #expect(queue.holdsOnlyWaiting && queue.inMemory == 0 && !queue.hasTurns)
    }

    /// A queue of short calls, of which many are written down ahead, is no reason for another plugin to wait for its end.
    @Test(arguments: [1, 2, 4])
    func aBacklogOfShortCallsLeavesTheOthersTheirTurns(_ workers: Int) throws {
        let queue = HeldQueue(workers: workers)
        for number in 0..<workers { try fill(queue, "p\(number)", 2000) }
        var started = Deque(queue.admit())
        var (ended, isLateStarted) = (0, false)
        while let start = started.popFirst(), !isLateStarted {
            ended += 1
            queue.leave(start.run, after: Self.short)
            queue.finish(start.run)
            // Each plugin has runs ahead by then.
            if ended == 100 { try fill(queue, "late", 1) }
            let starts = queue.admit()
            isLateStarted = starts.contains { $0.run.task.id == "late-0" }
            started.append(contentsOf: starts)
        }
        // At the next ends, and not at the end of a backlog.
        #expect(isLateStarted && ended < 200)
    }

    @Test func noMoreAreCalledAtTheSameTimeThanMayBe() throws {
        let queue = HeldQueue(workers: 3) { $0.rawValue == "wide" ? 2 : 1 }
        try fill(queue, "wide", 5)
        try fill(queue, "narrow", 5)
        #expect(queue.admit().map(\.run.task.id) == ["wide-0", "narrow-0", "wide-1"])
        #expect(queue.admit().isEmpty)
        queue.workers = 4
        // Each has as many as it may.
        #expect(queue.admit().isEmpty)
        try fill(queue, "third", 5)
        #expect(queue.admit().map(\.run.task.id) == ["third-0"])
    }

    @Test func shortOneOffsAreWrittenDownAheadOfTheirCall() throws {
        let queue = HeldQueue(workers: 1)
        try fill(queue, "a", 2000)
        #expect(queue.admit() == [RunQueue.Start(run: oneOff("a-0"), isAhead: false)])
        queue.leave(oneOff("a-0"), after: Self.short)
        queue.finish(oneOff("a-0"))
        let starts = queue.admit()
        #expect(starts.count == 513)
        #expect(starts.count { $0.isAhead } == 512)
        // A long one ends that: what is ahead has its turn, and nothing more is added.
        queue.leave(starts[0].run, after: Self.long)
        queue.finish(starts[0].run)
        #expect(queue.admit().isEmpty)
    }

    @Test func aFireTimeIsNeverAhead() throws {
        let queue = HeldQueue(workers: 1)
        try fill(queue, "a", 1)
        _ = queue.admit()
        queue.leave(oneOff("a-0"), after: Self.short)
        queue.finish(oneOff("a-0"))
        for number in 0..<5 {
            _ = queue.hold(scheduled("s-\(number)"))
            queue.queue(scheduled("s-\(number)"), in: try group("a"))
        }
        #expect(queue.admit().map(\.isAhead) == [false])
    }

    @Test func soManyAreInMemoryAtMost() throws {
        let queue = HeldQueue(workers: 10_000)
        for number in 0..<2000 { try fill(queue, "p\(number)", 1) }
        #expect(queue.admit().count == RunQueue.window)
        #expect(queue.queuedCount == 2000 - RunQueue.window)
    }

    // MARK: What is held

    @Test func aTaskIsHeldOnce() throws {
        let queue = HeldQueue(workers: 1)
        #expect(queue.hold(oneOff("t")) == .held)
        #expect(queue.hold(oneOff("t")) == .known)
        #expect(queue.hold(oneOff("t", arguments: #"{"a": 1}"#)) == .held)
        #expect(!queue.holds(oneOff("t")))
        queue.queue(oneOff("t", arguments: #"{"a": 1}"#), in: try group("a"))
        #expect(queue.admit().map(\.run) == [oneOff("t", arguments: #"{"a": 1}"#)])
        // It runs.
        #expect(queue.hold(oneOff("t")) == .known)
        #expect(queue.hold(scheduled("t")) == .overlaps)
    }

    @Test func whatWasChangedInTheQueueHasItsTurnOnce() throws {
        let queue = HeldQueue(workers: 1)
        try fill(queue, "a", 3)
        let changed = oneOff("a-0", arguments: #"{"a": 1}"#)
        _ = queue.hold(changed)
        queue.queue(changed, in: try group("a"))
        #expect(runAll(queue, cost: Self.long) == ["a-1", "a-2", "a-0"])
    }

    @Test func whatIsNotListedIsDroppedUnlessItRuns() throws {
        let queue = HeldQueue(workers: 1)
        try fill(queue, "a", 100)
        _ = queue.hold(scheduled("s"))
        queue.queue(scheduled("s"), in: try group("b"))
        _ = queue.admit()
        let gone = queue.withdraw(exceptOneOffs: [oneOff("a-99").task.key], schedules: [])
        #expect(gone == [oneOff("a-0").task.key])
        #expect(runAll(queue, cost: Self.long).isEmpty)
        queue.leave(oneOff("a-0"), after: nil)
        queue.finish(oneOff("a-0"))
        #expect(runAll(queue, cost: Self.long) == ["a-99"])
        #expect(queue.holdsOnlyWaiting)
    }

    @Test func whatWaitsIsFoundByWhatItWaitsFor() throws {
        let queue = HeldQueue(workers: 1)
        let runs = ["b", "a", "c"].map { oneOff($0) }
        for run in runs {
            _ = queue.hold(run)
            #expect(queue.wait(run, reason: "not there"))
            #expect(!queue.wait(run, reason: "not there"))
        }
        #expect(queue.waitingRuns().map(\.task.id) == ["a", "b", "c"])
        #expect(queue.waitingRuns(limit: 2).map(\.task.id) == ["a", "b"])
        #expect(queue.holdsOnlyWaiting && queue.queuedCount == 0)
        let questions = queue.questions(about: nil)
        #expect(questions == [runs[0].question])
        // In the order in which they came.
        #expect(queue.runs(waitingFor: questions).map(\.task.id) == ["b", "a", "c"])
        queue.queue(runs[1], in: .rejected)
        #expect(!queue.isWaiting(runs[1]) && queue.waitingCount == 2)
    }

    @Test func whatHasNotRunIsHeldAgain() throws {
        let queue = HeldQueue(workers: 1)
        try fill(queue, "a", 1)
        _ = queue.admit()
        queue.leave(oneOff("a-0"), after: nil)
        queue.finish(oneOff("a-0"), isHeldAgain: true)
        #expect(queue.holds(oneOff("a-0")) && queue.inMemory == 0)
    }
}

@Suite struct OutboxGateTests {
    @Test func isFullUntilATenthIsFreeAgain() {
        let gate = HeldGate()
        #expect(!gate.note(bytes: 99, limit: 100) && !gate.isFull)
        #expect(gate.note(bytes: 100, limit: 100) && gate.isFull)
        #expect(!gate.note(bytes: 91, limit: 100) && gate.isFull)
        #expect(gate.note(bytes: 89, limit: 100) && !gate.isFull)
        #expect(!gate.note(bytes: 99, limit: 100) && !gate.isFull)
    }

    @Test func anEmptyOneIsNeverFull() {
        let gate = HeldGate()
        #expect(!gate.note(bytes: 0, limit: 0) && !gate.isFull)
    }
}

/// An expectation calls no mutating function of a value.
@dynamicMemberLookup private final class HeldQueue {
    private var queue: RunQueue

    init(workers: Int, concurrency: @escaping @Sendable (PluginID) -> Int = { _ in 1 }) {
        queue = RunQueue(workers: workers, concurrency: concurrency)
    }

    subscript<Value>(dynamicMember path: KeyPath<RunQueue, Value>) -> Value { queue[keyPath: path] }

    var workers: Int {
        get { queue.workers }
        set { queue.workers = newValue }
    }

    func holds(_ run: PlannedRun) -> Bool { queue.holds(run) }
    func isWaiting(_ run: PlannedRun) -> Bool { queue.isWaiting(run) }
    func waitingRuns(limit: Int? = nil) -> [PlannedRun] { queue.waitingRuns(limit: limit) }
    func questions(about changes: PluginCatalog.Changes?) -> [PluginCatalog.Question] {
        queue.questions(about: changes)
    }
    func runs(waitingFor questions: [PluginCatalog.Question]) -> [PlannedRun] { queue.runs(waitingFor: questions) }
    func hold(_ run: PlannedRun) -> RunQueue.Admission { queue.hold(run) }
    func wait(_ run: PlannedRun, reason: String) -> Bool { queue.wait(run, reason: reason) }
    func queue(_ run: PlannedRun, in group: RunQueue.Group) { queue.queue(run, in: group) }
    func startAtOnce(_ task: TaskID) -> PlannedRun? { queue.startAtOnce(task) }
    func admit() -> [RunQueue.Start] { queue.admit() }
    func leave(_ run: PlannedRun, after cost: RunQueue.Cost?) { queue.leave(run, after: cost) }
    func finish(_ run: PlannedRun, isHeldAgain: Bool = false) { queue.finish(run, isHeldAgain: isHeldAgain) }
    func withdraw(exceptOneOffs oneOffs: Set<TaskID>, schedules: Set<TaskID>) -> [TaskID] {
        queue.withdraw(exceptOneOffs: oneOffs, schedules: schedules)
    }
}

private final class HeldGate {
    private var gate = OutboxGate()

    var isFull: Bool { gate.isFull }
    func note(bytes: Int, limit: Int) -> Bool { gate.note(bytes: bytes, limit: limit) }
}
