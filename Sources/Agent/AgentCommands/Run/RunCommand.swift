import Agent
import AgentModel
import ArgumentParser
import Logging

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the agent.",
        discussion: """
            Synchronizes with the backend, runs what is due and delivers the results until SIGTERM or SIGINT. Runs may
            then continue for shutdown_grace seconds; a second signal ends them at once. SIGHUP reloads the configuration.

            With --once it synchronizes, runs all that is due now (one-off tasks, and schedules with a fire time since
            the last run), delivers, and exits 0, or 1 if a run failed or wasn't delivered.

            If the agent must log in, it logs an address and a code, and continues once the code is approved;
            meanwhile schedules keep running and results are kept. With --no-login, and with --once, it exits 77 instead,
            unless the code of an earlier 'login --no-wait' has been approved.

            EXAMPLE
              runbook-agent run --config config.ini --set workers=8
            """)

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var loggingOptions: LoggingOptions

    @Flag(name: .long, help: "Run what is due now, deliver the results, and exit.")
    var once = false

    @Flag(name: .long, help: "Exit if there is no login, instead of asking for one.")
    var noLogin = false

    func run() async throws {
        let logger = loggingOptions.makeLogger()
        let configuration = try configurationOptions.load(requiresServer: true)
        if configuration.auth { ProcessProtection.forbidDumps() }
        let signals = once ? nil : try AgentSignals.trap()
        // Results of this command go nowhere but to the backend and the log.
        _ = Terminal.reserveStandardOutput()
        let runtime = try await AgentRuntime.build(
            configuration: configuration, missedRuns: once ? .once : nil,
            loginPolicy: once || noLogin ? .require : .ask, logger: logger)
        guard let signals else {
            let report = try await runtime.runOnce()
            await runtime.close()
            logger.info(
                "done",
                metadata: [
                    "succeeded": "\(report.tally.succeeded)", "failed": "\(report.tally.failed)",
                    "undelivered": "\(report.undelivered)",
                ])
            guard report.isGood else { throw ExitCode.failure }
            return
        }
        let options = configurationOptions
        let status = try await runtime.run(signals: signals) { try options.load(requiresServer: true) }
        await runtime.close()
        logger.info("agent stopped")
        if status != 0 { throw ExitCode(status) }
    }
}
