import AgentModel
public import DeviceAuthorization
import Diagnostics
public import Logging
public import ServiceLifecycle

/// Sees to it that a running agent is logged in: where it isn't, it says once per code what a person has to do, and goes
/// on as soon as that was done. Everything else goes on meanwhile; results collect in the outbox.
public actor LoginService: Service {
    /// What to do where there is no login.
    public enum Policy: Sendable {
        /// Ask for a code and wait for its approval.
        case ask
        /// Don't start without one. One that ends later is waited for.
        case require
    }

    private let session: LoginSession
    private let policy: Policy
    private let clock: any LoginClock
    private let logger: Logger
    private let alarm = Alarm()
    private var onLogin: @Sendable () async -> Void = {}
    private var failures = 0
    /// Why the login could not be used at the last look, which is said once.
    private var saidProblem: LoginError?
    /// Another backend that was told of.
    private var saidBackend: String?

    /// How long a login or logout by another process may go unnoticed.
    private static let watchInterval = Duration.seconds(5)

    public init(session: LoginSession, policy: Policy, clock: any LoginClock, logger: Logger) {
        self.session = session
        self.policy = policy
        self.clock = clock
        self.logger = logger
    }

    /// Called each time the agent was let in after it wasn't.
    public func setOnLogin(_ action: @escaping @Sendable () async -> Void) { onLogin = action }

    /// Looks at what is stored, before anything else is started.
    ///
    /// - Throws: what keeps the login from being read, but for damage: then there is none. With ``Policy/require``,
    ///   `login.required` where there is none and no code was approved.
    func prepare() async throws(LoginError) {
        do throws(LoginError) {
            guard try await !session.isLoggedIn(retries: false) else { return }
        } catch {
            guard case .damaged = error else { throw error }
            logger.critical("\(error.message)", metadata: ["code": "\(error.code)"])
        }
        switch policy {
        case .require: try await DeviceLogin(session: session) { _ in }.redeemPending()
        // Whoever starts the agent anew wants it to ask.
        case .ask: try await session.forgetDenial()
        }
    }

    /// Compares the backend with that of the login. Another one changes nothing: a person has to say what it is.
    func note(backendID: String) async {
        let expected = try? await session.note(backendID: backendID)
        guard let expected else {
            saidBackend = nil
            return
        }
        guard saidBackend != backendID else { return }
        saidBackend = backendID
        logger.error(
            """
            the backend at server_url is another one than this agent was logged in at (backend_id \(quoted(backendID)), not \
            \(quoted(expected))); the login is kept; find out whether server_url or the backend's database was changed, and \
            if it is meant, run "runbook-agent login --force"
            """, metadata: ["code": "agent.other_backend"])
    }

    public func run() async throws {
        await session.setOnLogout { [alarm] in alarm.ring() }
        await cancelWhenGracefulShutdown {
            var wasLoggedIn = true
            while !Task.isCancelled {
                let isLoggedIn = await self.look()
                if isLoggedIn, !wasLoggedIn { await self.loggedIn() }
                wasLoggedIn = isLoggedIn
                if !isLoggedIn, await self.askForLogin() { continue }
                await self.pause()
            }
        }
    }

    private func look() async -> Bool {
        do throws(LoginError) {
            let isLoggedIn = try await session.isLoggedIn()
            saidProblem = nil
            return isLoggedIn
        } catch {
            // It is looked every few seconds.
            if saidProblem != error {
                logger.error("the login can't be used: \(error.message)", metadata: ["code": "\(error.code)"])
            }
            saidProblem = error
            return false
        }
    }

    private func loggedIn() async {
        failures = 0
        logger.notice("the agent is logged in")
        await onLogin()
    }

    private func pause() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await self.clock.sleep(for: Self.watchInterval) }
            group.addTask { await self.alarm.wait() }
            await group.next()
            group.cancelAll()
        }
    }

    /// - Returns: whether the state is to be looked at again at once.
    private func askForLogin() async -> Bool {
        guard policy == .ask else {
            if failures == 0 {
                logger.error(
                    "\(LoginError.required(pending: nil).message); results are kept meanwhile",
                    metadata: ["code": "login.required"])
            }
            failures += 1
            return false
        }
        do {
            try await DeviceLogin(session: session, onEvent: { await self.log($0) }).run()
            return true
        } catch let error as LoginError {
            logger.error("the login failed: \(error.message)", metadata: ["code": "\(error.code)"])
            failures += 1
            await waitForAnotherLogin(after: error)
            return true
        } catch {
            return !Task.isCancelled
        }
    }

    /// A person who has said no isn't asked again by a new code; a backend that was set up wrongly is, after a while.
    private func waitForAnotherLogin(after error: LoginError) async {
        let pause: Duration? = error == .denied ? nil : .seconds(min(300, 15 << min(failures, 6)))
        let end = pause.map { clock.uptime + $0 }
        while !Task.isCancelled {
            if (try? await session.isLoggedIn()) == true { return }
            // A person asks anew, by a `login` that may not wait itself.
            if pause == nil, (try? await session.usablePendingCode()) != nil { return }
            if let end, clock.uptime >= end { return }
            await self.pause()
        }
    }

    private func log(_ event: DeviceLogin.Event) {
        switch event {
        case .code(let code):
            var metadata: Logger.Metadata = [
                "verification_uri": "\(code.verificationURI)", "user_code": "\(code.userCode)",
                "good_for_s": "\(code.lifetime)",
            ]
            if let complete = code.verificationURIComplete { metadata["complete_link"] = "\(complete)" }
            logger.warning(
                """
                LOG THIS AGENT IN: open \(code.verificationURI) and enter the code \(code.userCode)
                """, metadata: metadata)
        case .expired: logger.notice("the device code expired without approval; requesting a new one")
        case .oldLoginStays(let error):
            logger.warning(
                "could not revoke the previous login: \(error.message)", metadata: ["code": "\(error.code)"])
        case .trouble(let error, let retryIn):
            logger.warning(
                "could not reach the backend for the login: \(error.message)",
                metadata: ["code": "\(error.code)", "retry_in_s": "\(retryIn.components.seconds)"])
        }
    }
}
