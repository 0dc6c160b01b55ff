import Agent
import AgentModel
public import ArgumentParser
import DeviceAuthorization
import Diagnostics
import Glibc
import PluginExecution
import PythonEmbedding

/// The command line of the agent.
public struct RunbookAgent: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "runbook-agent",
        abstract: "Runs a backend's plugins on this host, once or on a schedule.",
        discussion: """
            Exit codes: 0 success, 1 failure, 2 wrong usage, 77 login required.

            EXAMPLE
              runbook-agent run --config /etc/runbook-agent/config.ini
            """,
        version: AgentVersion.current,
        subcommands: [
            RunCommand.self, LoginCommand.self, LogoutCommand.self, StatusCommand.self, HistoryCommand.self,
            OutboxCommand.self, StackCommand.self, PluginCommand.self,
            CommandCommand.self, ScheduleCommand.self, DoctorCommand.self,
        ])

    public init() {}

    /// Does not return in a process that the agent started to run plugins confined. To be called before there is a
    /// second thread.
    ///
    /// Nor in one that a plugin started as `sys.executable`.
    public static func runSandboxedProcessIfAsked() {
        PythonProgram.runIfAsked()
        if SandboxWorker.isRequested { SandboxWorker.run() }
    }

    /// Parses the arguments, runs the command and ends the process with its exit code.
    ///
    /// Errors become exit codes here and nowhere else. The process ends with `_exit`: finalising Python while plugins'
    /// threads run hangs or crashes.
    public static func runAndExit() async -> Never {
        // A reader that goes away, of a log or of a list, is an error of write(2) and not the end of the agent.
        // A handler that does nothing, because programs of plugins would inherit that it is ignored.
        signal(SIGPIPE) { _ in }
        // Before anything starts a thread or Python. What the configuration needs of it has been read.
        _ = ProcessEnvironment.atStart
        ProcessProtection.clearEnvironment()
        MemoryArenas.bound()
        var status = ExitCode.success
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            status = report(error)
        }
        Terminal.flush()
        _exit(status.rawValue)
    }

    private static func report(_ error: any Error) -> ExitCode {
        if let error = error as? any CodedError {
            if let traceback = (error as? PluginExecutionError)?.traceback { Terminal.writeError(traceback) }
            Terminal.writeError("error: \(error.message) [\(error.code)]")
            if case LoginError.required? = error as? LoginError { return ExitCode(ExitStatus.loginRequired) }
            return .failure
        }
        let code = exitCode(for: error)
        if let exit = error as? ExitCode { return exit }
        let message = fullMessage(for: error)
        if code == .success {
            if !message.isEmpty { print(message) }
            return .success
        }
        if !message.isEmpty { Terminal.writeError(message) }
        return code == .validationFailure ? .wrongUsage : .failure
    }
}

extension ExitCode {
    /// The command line itself was wrong.
    static let wrongUsage = ExitCode(2)
}
