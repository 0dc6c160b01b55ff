import AgentModel
import Foundation
import Logging
import PluginExecution
import PluginStore
import RunJournal

/// One run from its turn to its result in the outbox.
struct RunExecution {
    let run: PlannedRun
    let parts: Dispatcher.Parts
    let recorder: RunRecorder
    let logger: Logger

    private var task: TaskDocument { run.task }

    enum Ending {
        case succeeded
        case failed
        /// It had run before.
        case notRun
        /// The agent stopped before the journal could be written.
        case unrecorded
        /// Its plugin went away meanwhile and may come back.
        case postponed
    }

    func perform() async -> Ending {
        var start = RunStart(
            taskID: task.id, isOneOff: task.cron == nil, command: task.command, scheduledFor: run.scheduledFor,
            startedAt: parts.clock.now)
        switch await prepare() {
        case .wait:
            return .postponed
        case .reject(let error):
            let rejection = start
            let result = result(of: .rejected(error, at: start.startedAt), runID: start.runID)
            let decision = await recorder.record { () async throws(RunJournalError) in
                try await parts.journal.rejected(rejection, result: result)
            }
            guard let decision else { return .unrecorded }
            guard decision == .go else { return .notRun }
            report(result)
            return .failed
        case .call(let invocation):
            start.pluginID = invocation.pluginID.rawValue
            start.function = invocation.function
            start.isolation = "in-process"
            return await call(invocation, start)
        }
    }

    private func call(_ invocation: Invocation, _ start: RunStart) async -> Ending {
        // Nothing runs that can't be written down first.
        let decision = await recorder.record { () async throws(RunJournalError) in
            try await parts.journal.started(start)
        }
        guard let decision else { return .unrecorded }
        guard decision == .go else { return .notRun }
        logger.info(
            "run started",
            metadata: ["task": "\(task.id)", "run": "\(start.runID)", "command": "\(task.command)"])
        var invocation = invocation
        invocation.runID = start.runID.rawValue
        let outcome = await parts.executor.execute(invocation)
        let result = result(of: outcome, runID: start.runID)
        let isRecorded = await recorder.record { () async throws(RunJournalError) in
            try await parts.journal.finished(start.runID, status: outcome.status, result: result)
        }
        guard isRecorded != nil else { return .unrecorded }
        report(result)
        return outcome.status == .succeeded ? .succeeded : .failed
    }

    private enum Preparation {
        case call(Invocation)
        case wait
        case reject(RunError)
    }

    private func prepare() async -> Preparation {
        switch await parts.catalog.resolve(task.command) {
        case .wait:
            return .wait
        case .reject(let error):
            return .reject(error)
        case .run(let plugin, let function):
            do {
                let arguments = try task.normalizedArguments()
                try parts.recheck(plugin)
                return .call(Invocation(pluginID: plugin.id, function: function, arguments: arguments))
            } catch let error as AgentModelError {
                return .reject(RunError(code: error.code, message: error.message))
            } catch {
                let coded = error as? any CodedError
                logger.error(
                    "the plugin's file is not the one that was verified: \(coded?.message ?? "\(error)")",
                    metadata: ["plugin": "\(plugin.id)", "code": "\(coded?.code ?? "plugin.file_changed")"])
                // Nothing of it runs. What is stored is fetched again, and the run has its turn after that.
                parts.onDamagedPlugin(plugin.id)
                return .wait
            }
        }
    }

    private func result(of outcome: Outcome, runID: RunID) -> TaskResult {
        TaskResult(
            data: outcome.data, runID: runID.rawValue, status: outcome.status, error: outcome.error,
            stdout: outcome.stdout, stderr: outcome.stderr, startedAt: outcome.startedAt,
            finishedAt: outcome.finishedAt, durationMilliseconds: outcome.duration.seconds * 1000,
            scheduledFor: run.scheduledFor, isolation: outcome.isolation, agentVersion: AgentVersion.current)
    }

    private func report(_ result: TaskResult) {
        parts.onResult()
        var metadata: Logger.Metadata = [
            "task": "\(task.id)", "run": "\(result.runID ?? "")", "command": "\(task.command)",
            "status": "\(result.status?.rawValue ?? "")",
            "duration_ms":
                "\((result.durationMilliseconds ?? 0).formatted(.number.precision(.fractionLength(1)).grouping(.never)))",
        ]
        if let error = result.error {
            metadata["code"] = "\(error.code)"
            logger.warning("run ended: \(error.message)", metadata: metadata)
        } else {
            metadata["data"] = "\((result.data ?? "null").prefix(100))"
            logger.info("run ended", metadata: metadata)
        }
    }
}

extension Outcome {
    fileprivate static func rejected(_ error: RunError, at time: Date) -> Outcome {
        Outcome(status: .rejected, error: error, startedAt: time, isolation: "none")
    }
}
