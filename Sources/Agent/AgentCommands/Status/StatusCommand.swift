import Agent
import AgentModel
import ArgumentParser
import Foundation
import RunJournal
import Threads

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the agent on this host is doing.",
        discussion: """
            Reads the journal and asks the agent nothing, so that it answers whether that runs, is stopped, or hangs.
            Plugins, waiting tasks and fire times are as the agent last wrote them down, at most a second after they
            changed. Lists are cut to 50 entries.

            What is wrong stands first, and the exit code is 1 then, as where there is no journal or it can't be read.

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
