public import AgentModel
import Diagnostics
import Foundation
import PythonEmbedding
import Threads

extension Outcome {
    /// What the contract makes of a call's result. A method that returned `None` has what it printed as its `data`.
    init(
        _ result: CallResult, stoppedBy step: StopStep?, limit: Duration?, startedAt: Date, duration: Duration,
        isolation: RunIsolation = .inProcess
    ) {
        self.init(
            status: .succeeded, stdout: result.stdout, stderr: result.stderr, startedAt: startedAt, duration: duration,
            isolation: isolation)
        switch result.value {
        case .success(let text):
            data = text ?? (result.stdout.isEmpty ? nil : result.stdout)
        case .failure(let failure):
            status = failure.status
            error = RunError(failure)
        }
        if let step {
            status = .timedOut
            error = RunError.timedOut(limit: limit, step: step, traceback: error?.traceback)
        }
    }
}

extension CallFailure {
    fileprivate var status: RunStatus {
        switch self {
        // None of the plugin's code ran.
        case .invalidArguments, .functionMissing, .functionNotCallable, .argumentMismatch: .rejected
        case .raised, .exited, .resultNotJSON, .resultTooLarge: .failed
        case .timeLimitExceeded: .timedOut
        case .outputLimitExceeded: .outputLimit
        }
    }
}

extension RunError {
    fileprivate init(_ failure: CallFailure) {
        switch failure {
        case .invalidArguments(let problem):
            let error = AgentModelError.invalidArguments(problem: problem)
            self.init(code: error.code, message: error.message)
        case .argumentMismatch(let exception):
            self.init(
                .taskArgumentMismatch, type: exception.type,
                message: "\(exception.message); make the task's arguments fit the method's parameters")
        case .functionMissing(let name, let methods):
            let names = methods.map { quoted($0) }.joined(separator: ", ")
            self.init(
                .pluginFunctionMissing,
                message: "the plugin's class has no method \(quoted(name)); "
                    + (names.isEmpty ? "it has no public method at all" : "it has \(names)"))
        case .functionNotCallable(let type):
            self.init(
                .pluginFunctionNotCallable,
                message: "the attribute of that name is a \(type) and can't be called; publish the plugin with "
                    + "commands that fit its script")
        case .raised(let exception):
            self.init(
                .pluginException, type: exception.type,
                message: exception.message + (exception.missingModuleHint ?? ""),
                traceback: exception.traceback)
        case .exited(let exception):
            self.init(
                .pluginExit, type: exception.type,
                message: "the plugin called sys.exit(\(exception.message)); return from the method instead",
                traceback: exception.traceback)
        case .timeLimitExceeded(let exception):
            self.init(
                .taskTimedOut, type: exception.type, message: "the time limit has passed",
                traceback: exception.traceback)
        case .outputLimitExceeded(let exception):
            self.init(
                .taskOutputLimit, type: exception.type,
                message: "the run wrote more than \(exception.message); write less, or to a file",
                traceback: exception.traceback)
        case .resultTooLarge(let limit):
            self.init(
                .pluginResultTooLarge,
                message:
                    "what the method returned takes more than \(Self.size(limit)) as text or JSON; return less, write it to a file, "
                    + "or raise 'result_limit'")
        case .resultNotJSON(let exception):
            self.init(
                .pluginResultNotJSON, type: exception.type,
                message: "what the method returned can't be written as JSON: \(exception.sentence)",
                traceback: exception.traceback)
        }
    }

    private static func size(_ bytes: Int) -> String {
        bytes % (1 << 20) == 0 ? "\(bytes >> 20) MiB" : "\(bytes) bytes"
    }

    static func timedOut(limit: Duration?, step: StopStep, traceback: String?) -> RunError {
        let time = limit.map { "\($0.seconds.formatted(.number.grouping(.never))) s" } ?? "none"
        return RunError(
            .taskTimedOut, type: nil,
            message:
                "the run went past its time limit of \(time): \(step.sentence) (\(step.rawValue)); raise 'task_timeout' or "
                + "make the method check stop_requested", traceback: traceback)
    }

    /// The run is not to blame: the agent ends because another holds the interpreter.
    static func cutOff(holder: String?) -> RunError {
        RunError(
            .runInterrupted,
            message: "the agent had to end its process while the run was under way, because "
                + "\(holder ?? "a thread that can't be told") held the interpreter's lock; correct that plugin or set "
                + "'isolation = sandbox' for it, and create the task anew if it is to run again")
    }

    static let notBegun = RunError(
        .runStopped, message: "the run was taken back before its turn had come")

    static func cancelled(by request: Cancellation.Request, step: StopStep, traceback: String?) -> RunError {
        RunError(
            .runCancelled, type: nil,
            message: "\(request.sentence): \(step.sentence) (\(step.rawValue))", traceback: traceback)
    }

    /// Of a run that had not begun.
    public static func cancelled(by request: Cancellation.Request) -> RunError {
        RunError(.runCancelled, type: nil, message: "\(request.sentence) before it had begun")
    }

    static func stopped(step: StopStep, traceback: String?) -> RunError {
        RunError(
            .runStopped, type: nil,
            message:
                "the agent was stopped while the run was under way: \(step.sentence) (\(step.rawValue)); create the "
                + "task anew if it is to run again, or raise 'shutdown_grace'", traceback: traceback)
    }
}

extension Cancellation.Request {
    /// `the run was cancelled by ada (wrong disk)`
    fileprivate var sentence: String {
        let who = by.map { " by \($0.withoutControlCharacters)" } ?? ""
        return "the run was cancelled\(who)" + (reason.map { " (\($0.withoutControlCharacters))" } ?? "")
    }
}

extension StopStep {
    fileprivate var sentence: String {
        switch self {
        case .asked: "it returned after it was asked to stop"
        case .injected: "it was stopped by an exception raised in its code"
        case .threadAbandoned: "it could not be stopped, and its thread was given up"
        case .childEnded: "it could not be stopped, and its process was ended"
        case .processEnded: "it or a run beside it held the interpreter's lock, and the agent had to end its process"
        }
    }
}
