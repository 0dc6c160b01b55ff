public import AgentModel
public import BackendClient
public import CronSchedule
public import DeviceAuthorization
public import Logging

extension AgentConfiguration {
    /// The zone that cron schedules follow.
    ///
    /// - Throws: `CronScheduleError` for a name that tzdata doesn't have.
    public func timeZone() throws(CronScheduleError) -> TimeZoneRules {
        guard let timezone else { return TimeZoneRules.local() }
        return try TimeZoneRules.named(timezone)
    }

    /// The client's limits and trust.
    public func http() -> HTTPClient.Configuration {
        var http = HTTPClient.Configuration()
        http.connectLimit = connectTimeout
        http.timeLimit = requestTimeout
        http.followsToInsecure = allowInsecure
        http.caFile = caFile
        http.clientCertificate = clientCertificate
        http.clientKey = clientKey
        http.userAgent = "runbook-agent/\(AgentVersion.current)"
        return http
    }

    /// What an agent can't run without.
    ///
    /// - Throws: `AgentError`.
    func requireRunnable() throws(AgentError) -> String {
        guard let serverURL else { throw .noServer }
        return serverURL
    }

    /// Where the key is that tokens are sealed with.
    public var keySource: KeySource {
        KeySource(configured: keyFile, credentialsDirectory: credentialsDirectory, fallback: defaultKeyFile)
    }

    /// The agent's login; nil with `auth = False`.
    ///
    /// - Throws: `login.insecure_server`, `agent.no_server`.
    public func loginSession(
        http: HTTPClient, clock: any LoginClock = SystemLoginClock(), logger: Logger
    ) throws -> LoginSession? {
        guard auth else { return nil }
        let settings = LoginSettings(
            serverURL: try requireRunnable(), clientID: clientID, scope: scope ?? "", deviceCodePath: deviceCodePath,
            tokenPath: tokenPath, revocationPath: revocationPath, allowInsecure: allowInsecure)
        return try LoginSession(
            settings: settings, directory: stateDirectory, keySource: keySource, http: http, clock: clock,
            logger: logger)
    }

    /// What is stored of the login, looked at from outside; nil with `auth = False`.
    public func loginState() async -> LoginState? {
        guard auth else { return nil }
        return await LoginState.read(
            directory: stateDirectory, keySource: keySource, serverURL: serverURL, clientID: clientID)
    }
}

/// Why an agent can't be made of a configuration that is right in itself.
public enum AgentError: CodedError, Equatable {
    case noServer

    public var code: String { "agent.no_server" }

    public var message: String { "there is no backend to talk to; set 'server_url'" }
}
