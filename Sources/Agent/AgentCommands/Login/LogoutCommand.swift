import Agent
import AgentModel
import ArgumentParser
import BackendClient
import DeviceAuthorization
import Diagnostics
import Logging

struct LogoutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logout", abstract: "Log this agent out.",
        discussion: """
            Asks the backend to revoke the tokens, and forgets them even if it can't. A running agent notices,
            keeps its results and asks for a new login.

            EXAMPLE
              runbook-agent logout --config /etc/runbook-agent/config.ini
            """)

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let screen = LoginScreen(isJSON: output.json)
        do {
            try await logOut(screen)
        } catch let error as any CodedError {
            screen.failed(error)
            throw error
        }
    }

    private func logOut(_ screen: LoginScreen) async throws {
        let configuration = try configurationOptions.load(requiresServer: true)
        let http = try HTTPClient(configuration.http())
        let logger = Logger(label: "agent") { _ in SwiftLogNoOpLogHandler() }
        guard let session = try configuration.loginSession(http: http, logger: logger) else {
            throw ValidationError("there is no login to end: auth is False in the configuration")
        }
        ProcessProtection.forbidDumps()
        let (wasLoggedIn, problem) = try await session.logout()
        switch (wasLoggedIn, problem) {
        case (_, let problem?):
            screen.show(
                "Logged out here, but the tokens could not be revoked: \(problem.message) [\(problem.code)]. "
                    + "End the login in the backend too.",
                event: "logged_out_here_only")
        case (true, nil): screen.show("Logged out.", event: "logged_out")
        case (false, nil): screen.show("There was no login.", event: "was_not_logged_in")
        }
    }
}
