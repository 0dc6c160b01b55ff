/// Why a run did not succeed, as `docs/errors.md` explains it. Errors of loading a plugin and of reading a document have
/// codes of their own.
public enum RunErrorCode: String, Sendable, CaseIterable {
    case commandAmbiguous = "command.ambiguous"
    case executorStopped = "executor.stopped"
    case pluginException = "plugin.exception"
    case pluginExit = "plugin.exit"
    case pluginFunctionMissing = "plugin.function_missing"
    case pluginFunctionNotCallable = "plugin.function_not_callable"
    case pluginNotLoaded = "plugin.not_loaded"
    case pluginQuarantined = "plugin.quarantined"
    case pluginResultNotJSON = "plugin.result_not_json"
    case pluginResultTooLarge = "plugin.result_too_large"
    case pluginShutdownFailed = "plugin.shutdown_failed"
    case pluginShutdownTimedOut = "plugin.shutdown_timed_out"
    case pluginStuck = "plugin.stuck"
    case runCancelled = "run.cancelled"
    case runCrashed = "run.crashed"
    case runInterrupted = "run.interrupted"
    case runMayHaveRun = "run.may_have_run"
    case runStopped = "run.stopped"
    case sandboxCPULimit = "sandbox.cpu_limit"
    case sandboxOutOfMemory = "sandbox.out_of_memory"
    case sandboxProtocol = "sandbox.protocol"
    case taskArgumentMismatch = "task.argument_mismatch"
    case taskArgumentsTooLarge = "task.arguments_too_large"
    case taskOutputLimit = "task.output_limit"
    case taskTimedOut = "task.timed_out"
    case taskUnknownCommand = "task.unknown_command"
}

extension RunError {
    public init(_ code: RunErrorCode, type: String? = nil, message: String, traceback: String? = nil) {
        self.init(code: code.rawValue, type: type, message: message, traceback: traceback)
    }

    public func hasCode(_ code: RunErrorCode) -> Bool { self.code == code.rawValue }
}
