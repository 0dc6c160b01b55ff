public import AgentModel
public import BackendClient
public import CronSchedule

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
        http.caFile = caFile
        http.clientCertificate = clientCertificate
        http.clientKey = clientKey
        http.userAgent = "runbook-agent/\(AgentVersion.current)"
        return http
    }

    /// Plugins that may run more than one call at the same time.
    var concurrencyByPlugin: [PluginID: Int] {
        plugins.mapValues(\.concurrency).filter { $0.value > 1 }
    }

    /// What an agent can't run without.
    ///
    /// - Throws: `AgentError`.
    func requireRunnable() throws(AgentError) -> String {
        guard let serverURL else { throw .noServer }
        guard !auth else { throw .loginNotSupported }
        return serverURL
    }
}

/// Why an agent can't be made of a configuration that is right in itself.
public enum AgentError: CodedError, Equatable {
    case noServer
    /// `auth = True`, which is the default.
    case loginNotSupported

    public var code: String {
        switch self {
        case .noServer: "agent.no_server"
        case .loginNotSupported: "agent.login_not_supported"
        }
    }

    public var message: String {
        switch self {
        case .noServer: "there is no backend to talk to; set 'server_url'"
        case .loginNotSupported:
            "this version can't log in yet, and 'auth' is True unless set otherwise; set 'auth = False' for a backend "
                + "that knows the agent by its address"
        }
    }
}
