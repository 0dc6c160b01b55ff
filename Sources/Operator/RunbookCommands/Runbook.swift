import AgentModel
public import ArgumentParser
import Diagnostics
import Foundation
import Glibc

/// The command line of the operator's client.
public struct Runbook: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "runbook",
        abstract: "Runs commands on hosts and looks after them, through runbook-backend.",
        discussion: """
            RUNBOOK_URL and RUNBOOK_TOKEN say which backend, and the administration token; "runbook login" keeps both.

            EXIT CODES
              0 success, 1 failure, 2 wrong usage, 3 no result in time (the task stays)

            EXAMPLE
              runbook run kitchen disk.usage path=/var
            """,
        version: AgentVersion.current,
        subcommands: [
            LoginCommand.self, LogoutCommand.self, RunCommand.self, CancelCommand.self, LogsCommand.self,
            StackCommand.self,
            AgentsCommand.self, PluginsCommand.self, TasksCommand.self, RunsCommand.self, DevicesCommand.self,
            ApplyCommand.self,
        ])

    public init() {}

    /// Parses the arguments, runs the command and ends the process with its exit code.
    public static func runAndExit() async -> Never {
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
        fflush(nil)
        _exit(status.rawValue)
    }

    private static func report(_ error: any Error) -> ExitCode {
        if let error = error as? any CodedError {
            Screen.writeError("error: \(error.message) [\(error.code)]")
            if case ClientError.invalidArguments? = error as? ClientError { return ExitCode(2) }
            return .failure
        }
        if let exit = error as? ExitCode { return exit }
        let (code, message) = (exitCode(for: error), fullMessage(for: error))
        if code == .success {
            if !message.isEmpty { print(message) }
            return .success
        }
        if !message.isEmpty { Screen.writeError(message) }
        return code == .validationFailure ? ExitCode(2) : .failure
    }
}

extension ExitCode {
    /// There was no result in time; the task stays.
    static let noResult = ExitCode(3)
}
