import AgentModel
import Diagnostics
import Foundation
import Logging
import PluginExecution
import PluginStore
import RunJournal
import Threads

/// One run from its turn to its result in the outbox.
struct RunExecution {
    let run: PlannedRun
    /// Which plugin runs it, as it was resolved for its turn; nil where that holds no longer.
    let command: ResolvedCommand?
    let dependencies: Dispatcher.Dependencies
    let recorder: RunRecorder
    let withdrawn: WithdrawnTasks
    let inProgress: RunsInProgress
    let logger: Logger

    private var task: TaskDocument { run.task }

    enum Ending {
        case succeeded
        case failed
        /// It had run before, or was taken back before its turn.
        case notRun
        /// The agent stopped before the journal could be written.
        case unrecorded
        /// Its plugin went away meanwhile and may come back.
        case postponed
    }

    /// How far a run has come.
    enum Progress {
        case called(Call)
        case ended(Ending)
    }

    /// A call that was made, or whose turn did not come.
    struct Call {
        let start: RunStart
        /// Whether the start is in the journal.
        let isWrittenDown: Bool
        var outcome: Outcome
        let cancellation: Cancellation
    }

    /// Writes down that the run begins, unless it may run again, waits for its turn and calls the plugin.
    func call() async -> Progress {
        var start = RunStart(
            taskID: task.id, isOneOff: task.cron == nil, command: task.command, scheduledFor: run.scheduledFor,
            startedAt: dependencies.clock.now)
        switch await prepare() {
        case .wait:
            return .ended(.postponed)
        case .reject(let error):
            return .ended(await reject(start, error))
        case .cancel(let request):
            return .ended(await reject(start, .cancelled(by: request), status: .cancelled))
        case .call(var invocation):
            start.pluginID = invocation.pluginID.rawValue
            start.function = invocation.function
            start.isolation = dependencies.executor.isolation(of: invocation.pluginID).text
            let isWrittenDown = !(start.isOneOff && dependencies.isIdempotent(invocation.pluginID))
            guard let decision = await begin(start, isWrittenDown) else { return .ended(.unrecorded) }
            guard decision == .go else { return .ended(.notRun) }
            logger.info(
                "run started",
                metadata: ["task_id": "\(task.id)", "run_id": "\(start.runID)", "command": "\(task.command)"])
            invocation.runID = start.runID.rawValue
            if start.isOneOff {
                let id = task.key
                invocation.mayBegin = { [withdrawn] in !withdrawn.contains(id) }
            }
            let run = inProgress.begin(
                RunInProgress(
                    runID: start.runID.rawValue, task: task.key, isOneOff: start.isOneOff,
                    startedAt: start.startedAt))
            defer { inProgress.end(run) }
            invocation.cancellation = run.cancellation
            invocation.relay = run.relay
            let outcome = await dependencies.executor.execute(invocation)
            return .called(
                Call(
                    start: start, isWrittenDown: isWrittenDown, outcome: outcome, cancellation: run.cancellation))
        }
    }

    /// Nothing runs that can't be written down first, but for what may run again.
    private func begin(_ start: RunStart, _ isWrittenDown: Bool) async -> StartDecision? {
        guard isWrittenDown else {
            guard !dependencies.journal.hasStarted(start.taskID) else { return .alreadyRan }
            dependencies.journal.startsUnwritten(start.runID)
            return .go
        }
        return await recorder.record { () async throws(RunJournalError) in
            try await dependencies.journal.started(start)
        }
    }

    /// Puts what became of the call into the outbox.
    func record(_ call: Call) async -> Ending {
        let start = call.start
        var outcome = call.outcome
        if !outcome.hasBegun, let request = call.cancellation.request, !withdrawn.contains(task.key) {
            outcome = .cancelled(by: request, at: start.startedAt)
        }
        guard outcome.hasBegun || !start.isOneOff else {
            return await undoStart(start, outcome.error)
        }
        let result = result(of: outcome, runID: start.runID)
        guard call.isWrittenDown else { return await complete(start, result) }
        let isRecorded = await recorder.record { () async throws(RunJournalError) in
            try await dependencies.journal.finished(
                start.runID, status: outcome.status, result: result, now: dependencies.clock.now)
        }
        guard isRecorded != nil else { return .unrecorded }
        report(result)
        return outcome.status == .succeeded ? .succeeded : .failed
    }

    private func reject(_ start: RunStart, _ error: RunError, status: RunStatus = .rejected) async -> Ending {
        var outcome = Outcome.rejected(error, at: start.startedAt)
        outcome.status = status
        return await complete(start, result(of: outcome, runID: start.runID))
    }

    /// Writes down start and result together.
    private func complete(_ start: RunStart, _ result: TaskResult) async -> Ending {
        let decision = await recorder.record { () async throws(RunJournalError) in
            try await dependencies.journal.completed(start, result: result, now: dependencies.clock.now)
        }
        guard let decision else { return .unrecorded }
        guard decision == .go else { return .notRun }
        report(result)
        return result.status == .succeeded ? .succeeded : .failed
    }

    private func undoStart(_ start: RunStart, _ error: RunError?) async -> Ending {
        // Where it can't be written the next agent finds in the trace that it had not begun.
        _ = await recorder.record { () async throws(RunJournalError) in try await dependencies.journal.undoStart(start)
        }
        if let error, !Self.withdrawals.contains(where: error.hasCode) {
            logger.warning(
                "the run could not begin; it will be retried when the task is listed again: \(error.message)",
                metadata: ["task_id": "\(task.id)", "run_id": "\(start.runID)", "code": "\(error.code)"])
            return .notRun
        }
        logger.info(
            "withdrew the run before it began; it will run when the task is listed again",
            metadata: ["task_id": "\(task.id)", "run_id": "\(start.runID)"])
        return .notRun
    }

    /// Why a run doesn't begin where nothing is wrong.
    private static let withdrawals: [RunErrorCode] = [.runStopped, .executorStopped]

    private func resolution() async -> PluginCatalog.Resolution {
        if let command, command.version == dependencies.catalog.version {
            return .run(plugin: command.plugin, function: command.function)
        }
        return await dependencies.catalog.resolve(task.command)
    }

    private enum Preparation {
        case call(Invocation)
        case wait
        case reject(RunError)
        case cancel(Cancellation.Request)
    }

    private func prepare() async -> Preparation {
        if run.scheduledFor == nil, let request = inProgress.cancellation(ofTask: task.key) { return .cancel(request) }
        switch await resolution() {
        case .wait:
            return .wait
        case .reject(let error):
            return .reject(error)
        case .run(let plugin, let function):
            do {
                let arguments = try task.normalizedArguments()
                try await dependencies.recheck(plugin)
                return .call(Invocation(pluginID: plugin.id, function: function, arguments: arguments))
            } catch let error as AgentModelError {
                return .reject(RunError(code: error.code, message: error.message))
            } catch {
                let coded = error as? any CodedError
                logger.error(
                    "the plugin's file has changed since it was verified: \(coded?.message ?? "\(error)")",
                    metadata: ["plugin": "\(plugin.id)", "code": "\(coded?.code ?? "plugin.file_changed")"])
                // Nothing of it runs. What is stored is fetched again, and the run has its turn after that.
                dependencies.onDamagedPlugin(plugin.id)
                return .wait
            }
        }
    }

    private func result(of outcome: Outcome, runID: RunID) -> TaskResult {
        TaskResult(
            data: outcome.data, runID: runID.rawValue, status: outcome.status,
            error: outcome.error?.hidingSecrets,
            stdout: outcome.stdout, stderr: outcome.stderr, startedAt: outcome.startedAt,
            finishedAt: outcome.finishedAt, durationMilliseconds: outcome.duration.seconds * 1000,
            scheduledFor: run.scheduledFor, isolation: outcome.isolation.text,
            pythonStack: outcome.pythonStack.map { HiddenSecrets.hidden(in: $0) }, agentVersion: AgentVersion.current)
    }

    private func report(_ result: TaskResult) {
        dependencies.onResult()
        var metadata: Logger.Metadata = [
            "task_id": "\(task.id)", "run_id": "\(result.runID ?? "")", "command": "\(task.command)",
            "status": "\(result.status?.rawValue ?? "")",
            "duration_ms":
                "\((result.durationMilliseconds ?? 0).formatted(.number.precision(.fractionLength(1)).grouping(.never)))",
        ]
        if let error = result.error {
            metadata["code"] = "\(error.code)"
            logger.warning("run ended: \(error.sentence)", metadata: metadata)
        } else {
            metadata["data"] = "\((result.data ?? "null").prefix(100))"
            logger.info("run ended", metadata: metadata)
        }
    }
}

extension RunError {
    /// Python and the libraries that plugins use quote what they were given.
    fileprivate var hidingSecrets: RunError {
        RunError(
            code: code, type: type, message: HiddenSecrets.hidden(in: message),
            traceback: traceback.map { HiddenSecrets.hidden(in: $0) })
    }
}

extension Outcome {
    fileprivate static func rejected(_ error: RunError, at time: Date) -> Outcome {
        Outcome(status: .rejected, error: error, startedAt: time, isolation: .none)
    }

    fileprivate static func cancelled(by request: Cancellation.Request, at time: Date) -> Outcome {
        Outcome(status: .cancelled, error: .cancelled(by: request), startedAt: time, isolation: .none)
    }
}
