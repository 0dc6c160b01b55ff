import ArgumentParser
import Foundation
import ProcessLogging

struct RunbookBackend: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runbook-backend",
        abstract: "The backend that comes with runbook-agent.",
        discussion: """
            EXAMPLE
              runbook-backend serve --init --data ./backend-data --seed Examples/quickstart

            EXIT CODES
              0 success, 1 failure, 2 wrong usage
            """,
        // As the agent's (AgentVersion): they are released together.
        version: "0.1.0",
        subcommands: [
            ServeCommand.self, DeviceCommand.self, TokenCommand.self, BackupCommand.self, RestoreCommand.self,
        ])

    /// Parses the arguments, runs the command and ends the process with its exit code.
    static func runAndExit() async -> Never {
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            exit(error)
        }
        end(0)
    }

    private static func exit(_ error: any Error) -> Never {
        let text = fullMessage(for: error)
        switch exitCode(for: error) {
        case .success:
            if !text.isEmpty { print(text) }
            end(0)
        case .validationFailure:
            StandardError.write(text)
            end(2)
        default:
            StandardError.write(text)
            end(1)
        }
    }

    private static func end(_ status: Int32) -> Never {
        LogOutput.standardError.flush(within: .seconds(1))
        Foundation.exit(status)
    }
}
