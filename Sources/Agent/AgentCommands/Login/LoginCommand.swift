import Agent
import AgentModel
import ArgumentParser
import BackendClient
import DeviceAuthorization
import Diagnostics
import Foundation
import Logging

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login", abstract: "Log this agent in to its backend.",
        discussion: """
            Shows an address and a code. Open the address on any device, enter the code and approve it. The command waits
            for the approval and then prints the agent's name. A running agent continues by itself. If an agent is already
            waiting with a code, that code is shown instead of a second one.

            Run it as the agent's user, with the agent's configuration.

            EXAMPLE
              runbook-agent login --config /etc/runbook-agent/config.ini
            """)

    @OptionGroup var configurationOptions: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    @Flag(name: .long, help: "Show the code and exit. The agent, or another 'login', picks up the approval.")
    var noWait = false

    @Flag(name: .long, help: "Log in again even if there is a login.")
    var force = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            Take a token from a file of mode 0600, or with - from standard input: a bare token, or a token response as \
            JSON. No code is asked for.
            """, valueName: "file"))
    var tokenFile: String?

    mutating func validate() throws {
        guard !(noWait && tokenFile != nil) else {
            throw ValidationError("--no-wait and --token-file exclude each other: with a token nobody is waited for")
        }
    }

    func run() async throws {
        let screen = LoginScreen(isJSON: output.json)
        do {
            try await logIn(screen)
        } catch let error as any CodedError {
            screen.failed(error)
            throw error
        }
    }

    private func logIn(_ screen: LoginScreen) async throws {
        let configuration = try configurationOptions.load(requiresServer: true)
        let http = try HTTPClient(configuration.http())
        let logger = Logger(label: "agent") { _ in SwiftLogNoOpLogHandler() }
        guard let session = try configuration.loginSession(http: http, logger: logger),
            let serverURL = configuration.serverURL
        else {
            throw ValidationError("there is nothing to log in to: auth is False in the configuration")
        }
        ProcessProtection.forbidDumps()
        if force { await session.replaceForeignLogin() }
        let client = try BackendClient(serverURL: serverURL, http: http, credentials: session)
        let hasLogin = try await hasLogin(session)
        if let tokenFile {
            let tokens = try tokens(from: tokenFile)
            let asking = try BackendClient(serverURL: serverURL, http: http, credentials: tokens.credentials)
            try await take(tokens, session, asking, mayBeUnchecked: force || !hasLogin)
        } else {
            if hasLogin, !force, try await isKnown(client, screen) { return }
            guard try await logIn(session, screen) else { return }
        }
        do throws(BackendError) {
            screen.loggedIn(as: try await name(client))
        } catch {
            screen.loggedIn(unknown: error)
            if case .unauthorized = error { throw ExitCode.failure }
            if case .credentials = error { throw ExitCode.failure }
        }
    }

    private func tokens(from file: String) throws -> TokenSet {
        guard file == "-" else { return try TokenSet.read(file: file, now: Date()) }
        // A little more than is taken, so that too much is noticed.
        let data = try FileHandle.standardInput.read(upToCount: (1 << 20) + 1) ?? Data()
        return try TokenSet.parse(data, from: "standard input", now: Date())
    }

    /// Takes tokens over in place of what is there, once the backend has taken them.
    /// - Parameter mayBeUnchecked: whether they are also taken where the backend can't be asked.
    private func take(
        _ tokens: TokenSet, _ session: LoginSession, _ asking: BackendClient, mayBeUnchecked: Bool
    ) async throws {
        do throws(BackendError) {
            _ = try await name(asking)
        } catch {
            switch error {
            // The time of the access token in a token response may be over, and that of the refresh token not.
            case .unauthorized where tokens.isRefreshable:
                try await session.accept(try await session.renewed(tokens))
                return
            case .unauthorized(_, let status):
                throw LoginError.tokenFile(
                    path: tokenFile ?? "", problem: "the backend refuses the token with status \(status)")
            default:
                if !mayBeUnchecked { throw error }
            }
        }
        try await session.accept(tokens)
    }

    /// A damaged login is set aside, and is none.
    private func hasLogin(_ session: LoginSession) async throws -> Bool {
        do throws(LoginError) {
            return try await session.isLoggedIn()
        } catch {
            guard case .damaged = error else { throw error }
            Terminal.writeError("warning: \(error.message) [\(error.code)]")
            return false
        }
    }

    /// A login that the backend doesn't take any more is none.
    private func isKnown(_ client: BackendClient, _ screen: LoginScreen) async throws -> Bool {
        do throws(BackendError) {
            screen.loggedIn(as: try await name(client), alreadyWas: true)
            return true
        } catch {
            switch error {
            case .unauthorized, .credentials(LoginError.required): return false
            default: throw error
            }
        }
    }

    /// - Returns: false where nobody was waited for.
    private func logIn(_ session: LoginSession, _ screen: LoginScreen) async throws -> Bool {
        let login = DeviceLogin(session: session) { screen.show($0) }
        guard !noWait else {
            screen.show(try await login.begin(), event: "pending")
            screen.show(
                "Not waiting. Once it is approved, "
                    + (force
                        ? "\"runbook-agent login --force\" takes the new login up."
                        : "an agent that runs, or \"runbook-agent login\", goes on."),
                event: "not_waiting")
            return false
        }
        let counting = Task { await screen.count() }
        let result: Result<Void, any Error>
        do {
            try await login.run(replacing: true)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        counting.cancel()
        await counting.value
        try result.get()
        return true
    }

    private func name(_ client: BackendClient) async throws(BackendError) -> LoginScreen.AgentName {
        guard case .changed(let agent, _) = try await client.agent() else {
            throw .missingData(url: client.serverURL.text)
        }
        return LoginScreen.AgentName(id: agent.id, name: agent.name, teamID: agent.teamID)
    }
}
