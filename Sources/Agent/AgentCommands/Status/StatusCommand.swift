import Agent
import AgentModel
import ArgumentParser
import CommandOutput
import Foundation
import RunJournal
import Threads

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the state of the agent on this host.",
        discussion: """
            Reads the journal without asking the agent, so it works whether the agent runs, is stopped, or hangs.
            Plugins, waiting tasks and fire times are as the agent last recorded them, at most a second after they
            changed. Lists are cut to 50 entries.

            Problems are listed first. The exit code is 1 if there are any, or if the journal is missing or unreadable.

            EXAMPLE
              runbook-agent status --config config.ini --json
            """)

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let configuration = try configurationOptions.load()
        if configuration.auth { ProcessProtection.forbidDumps() }
        var report = try await StatusReport.read(
            directory: configuration.stateDirectory, login: await configuration.loginState())
        report.outbox.limit = configuration.outboxLimit
        report.problems = report.findProblems(
            pollInterval: configuration.pollInterval.seconds, requestTimeout: configuration.requestTimeout.seconds,
            writeProblem: StatusProbe.writeProblem(directory: configuration.stateDirectory))
        if output.json {
            print(try ListRenderer.json(report))
        } else {
            report.printForPeople()
        }
        guard report.problems.isEmpty else { throw ExitCode.failure }
    }
}
