import AgentModel
import CronSchedule
import Diagnostics
import Foundation
public import Logging
public import RunJournal

/// Takes the backend's task lists in: schedules go to the scheduler, one-offs to the dispatcher, and what can't run as it
/// is listed is reported.
public actor TaskIntake {
    private let scheduler: Scheduler
    private let dispatcher: Dispatcher
    private let journal: RunJournal
    private let clock: any WallClock
    private let onResult: @Sendable () -> Void
    private let logger: Logger
    private let fireTimes: FireTimes

    /// As they were last listed, each with an id of its own.
    private var tasks: [TaskDocument] = [] { didSet { commands = nil } }
    /// By task, of that list; made where it is asked for.
    private var commands: [TaskID: String]?
    /// Tasks that can't run as they are listed and have been reported, with the reason.
    private var reported: [TaskID: String] = [:]
    /// What was said about lists, so that the log doesn't repeat it at every poll.
    private var saidBefore: Set<String> = []

    /// - Parameter onResult: called where there is something to deliver.
    public init(
        scheduler: Scheduler, dispatcher: Dispatcher, journal: RunJournal, clock: any WallClock,
        onResult: @escaping @Sendable () -> Void, logger: Logger
    ) {
        self.scheduler = scheduler
        self.dispatcher = dispatcher
        self.journal = journal
        self.clock = clock
        self.onResult = onResult
        self.logger = logger
        fireTimes = FireTimes(journal: journal, logger: logger)
    }

    /// The command of a task of the list as it was last read; nil for any other.
    func command(of task: TaskID) -> String? {
        // Not through the list each time: a plugin may ask for every task of a long one.
        let known = commands ?? Dictionary(tasks.map { ($0.key, $0.command) }) { first, _ in first }
        commands = known
        return known[task]
    }

    /// Takes a new list over.
    /// - Returns: whether everything of the list has been taken up, and whether it is another than before.
    func accept(_ list: TaskList) async -> (isTakenUp: Bool, isNew: Bool) {
        let list = CheckedTaskList(list)
        let isNew = list.tasks != tasks
        for complaint in list.complaints { log(complaint) }
        tasks = list.tasks
        let scheduled = tasks.filter { $0.cron != nil }
        let oneOffs = tasks.filter { $0.cron == nil }
        await dispatcher.withdraw(exceptOneOffs: Set(oneOffs.map(\.key)), schedules: Set(scheduled.map(\.key)))
        await takeUpAgain()
        let lastFires = await fireTimes.lastFires(of: scheduled, now: clock.now)
        let problems = await scheduler.replace(with: scheduled, lastFires: lastFires ?? [:])
        // One that can't be read and has a result needs no other.
        let rejections =
            list.rejections.filter { !journal.hasStarted($0.id.text) }
            + problems.map { task, error in
                RejectedTask(
                    id: task.key, command: task.command, error: RunError(code: error.code, message: error.message))
            }
        let areReported = await withTaskGroup(of: Bool.self) { group in
            // Side by side, so that the journal takes them together.
            for rejection in rejections { group.addTask { await self.reject(rejection) } }
            var areReported = true
            for await isReported in group where !isReported { areReported = false }
            return areReported
        }
        let wrong = Set(rejections.map(\.id))
        reported = reported.filter { wrong.contains($0.key) }
        return (areReported && lastFires != nil, isNew)
    }

    /// Hands on the one-offs of the list that are still to be done: those that could not be recorded, or that a run under
    /// way stood in the way of.
    func takeUpAgain() async {
        let oneOffs = tasks.filter { $0.cron == nil }
        if journal.mayHaveForgotten { guard await reportForgotten(oneOffs) else { return } }
        let started = journal.oneOffTasksStarted(among: oneOffs.map(\.id))
        for task in oneOffs where !started.contains(task.key) { await dispatcher.submit(PlannedRun(task: task)) }
    }

    /// A journal that could not be recovered whole doesn't say of the one-offs that are listed whether they ran. That
    /// none runs twice is worth more than that each runs.
    ///
    /// - Returns: whether it was written down; nothing may run before.
    private func reportForgotten(_ oneOffs: [TaskDocument]) async -> Bool {
        let started = journal.oneOffTasksStarted(among: oneOffs.map(\.id))
        let runs = oneOffs.filter { !started.contains($0.key) }.map { task in
            RunStart(taskID: task.id, isOneOff: true, command: task.command, startedAt: clock.now)
        }
        let error = RunError(
            .runMayHaveRun,
            message: "the agent's journal was damaged and may have forgotten that this task ran; it is not run again "
                + "by itself; where it should run, give it another id")
        do {
            try await journal.reportForgotten(runs, error: error, now: clock.now)
        } catch {
            logger.error("could not record the results: \(error.message)", metadata: ["code": "\(error.code)"])
            return false
        }
        logger.warning(
            "not running listed one-off tasks that the damaged journal may have lost",
            metadata: ["code": "run.may_have_run", "tasks": "\(runs.count)"])
        onResult()
        return true
    }

    /// Reports it to the backend once, and not again when the agent is started anew. Corrected, the task runs.
    ///
    /// - Returns: whether it is reported.
    private func reject(_ rejection: RejectedTask) async -> Bool {
        let (taskID, error) = (rejection.id, rejection.error)
        guard reported[taskID] != error.message else { return true }
        logger.error(
            "the task cannot run as listed: \(error.message)",
            metadata: ["task_id": "\(taskID)", "code": "\(error.code)"])
        let start = RunStart(
            taskID: taskID.text, isOneOff: false, command: rejection.command, startedAt: clock.now)
        let result = TaskResult(
            data: nil, runID: start.runID.rawValue, status: .rejected, error: error, startedAt: start.startedAt,
            finishedAt: start.startedAt, durationMilliseconds: 0, isolation: RunIsolation.none.text,
            agentVersion: AgentVersion.current)
        do {
            let isNew = try await journal.rejectedOnce(start, result: result)
            reported[taskID] = error.message
            guard isNew else { return true }
            await dispatcher.countRejection()
            onResult()
            return true
        } catch {
            logger.error("could not record the result: \(error.message)", metadata: ["code": "\(error.code)"])
            return false
        }
    }

    private func log(_ complaint: CheckedTaskList.Complaint) {
        // A backend that errs anew at every poll must not fill the memory.
        if saidBefore.count > 1000 { saidBefore.removeAll() }
        guard saidBefore.insert(complaint.message).inserted else { return }
        logger.error("\(complaint.message)", metadata: ["code": "\(complaint.code)"])
    }
}
