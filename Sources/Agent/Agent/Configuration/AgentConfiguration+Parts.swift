import AgentModel
public import BackendClient
public import CronSchedule
public import Cryptography
public import DeviceAuthorization
public import Diagnostics
import Foundation
public import Logging
import Sandbox

extension AgentConfiguration {
    /// The zone that cron schedules follow.
    ///
    /// - Throws: `CronScheduleError` for a name that tzdata doesn't have.
    public func timeZone() throws(CronScheduleError) -> TimeZoneRules {
        guard let timezone else { return TimeZoneRules.local() }
        return try TimeZoneRules.named(timezone)
    }

    /// The client's limits and trust.
    ///
    /// - Throws: `AgentError.clientCredentials` for a certificate and a key that can't be used together.
    public func http() throws(AgentError) -> HTTPClient.Configuration {
        try checkClientCredentials()
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

    /// A file that can't be read is left for the client to name.
    private func checkClientCredentials() throws(AgentError) {
        guard let clientCertificate, let certificate = Self.pem(clientCertificate) else { return }
        var key: Data?
        if let clientKey {
            key = Self.pem(clientKey)
            guard key != nil else { return }
        }
        guard let (file, problem) = ClientKey.problem(certificate: certificate, key: key) else { return }
        let isKey = file == .key
        throw .clientCredentials(
            setting: isKey ? "client_key" : "client_certificate",
            path: isKey ? clientKey ?? clientCertificate : clientCertificate, problem: problem)
    }

    /// At most a megabyte, and never from what would have to be waited for.
    private static func pem(_ path: String) -> Data? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        return try? file.read(upToCount: 1 << 20) ?? Data()
    }

    /// The values of `environment` that may be secrets, which neither a log nor an error shows. Paths and settings of the
    /// language are none, and would take the sense out of many lines.
    var environmentSecrets: [String] {
        ([pluginDefaults] + pluginSections.map(\.values)).flatMap { settings in
            settings.policy.environment.compactMap { name, value in
                let isPlain =
                    value.hasPrefix("/") || ["LANG", "LANGUAGE", "TZ", "PATH", "HOME", "USER", "TERM"].contains(name)
                    || name.hasPrefix("LC_")
                return isPlain ? nil : value
            }
        }
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
    /// The certificate and the key that the agent is to show. `setting` names which file.
    case clientCredentials(setting: String, path: String, problem: ClientKey.Problem)

    public var code: String {
        switch self {
        case .noServer: "agent.no_server"
        case .clientCredentials: "agent.client_credentials"
        }
    }

    public var message: String {
        switch self {
        case .noServer: "there is no backend to talk to; set 'server_url'"
        case .clientCredentials(let setting, let path, let problem):
            "the file \(quoted(path)) of the setting \(quoted(setting)) can't be used: \(Self.sentence(of: problem))"
        }
    }

    private static func sentence(of problem: ClientKey.Problem) -> String {
        switch problem {
        case .encrypted:
            "its private key is encrypted, and there is nobody to ask for the password; decrypt it with \"openssl pkey -in "
                + "KEY -out NEW\", give the new file mode 0600, and name that one"
        case .noKey: "it has no private key in PEM; name the file that has it in client_key"
        case .noCertificate: "it has no certificate in PEM"
        case .mismatch: "its private key is not that of the certificate in client_certificate"
        }
    }
}
