/// The settings of the section `[agent]`.
public enum ConfigurationKey: String, Sendable, CaseIterable {
    case serverURL = "server_url"
    case clientID = "client_id"
    case auth
    case allowInsecure = "allow_insecure"
    case scope
    case deviceCodePath = "device_code_path"
    case tokenPath = "token_path"
    case revocationPath = "revocation_path"
    case keyFile = "key_file"
    case forceRedownload = "force_redownload"
    case pluginDirectory = "plugin_directory"
    case stateDirectory = "state_directory"
    case pollInterval = "poll_interval"
    case workers
    case workersMax = "workers_max"
    case isolation
    case taskTimeout = "task_timeout"
    case keepPrograms = "keep_programs"
    case timezone
    case pythonPath = "python_path"
    case resultFormat = "result_format"
    case caFile = "ca_file"
    case clientCertificate = "client_certificate"
    case clientKey = "client_key"
    case connectTimeout = "connect_timeout"
    case requestTimeout = "request_timeout"
    case historyDays = "history_days"
    case historyLimit = "history_limit"
    case missedRuns = "missed_runs"
    case outboxLimit = "outbox_limit"
    case resultLimit = "result_limit"
    case shutdownGrace = "shutdown_grace"

    /// The environment variable that sets it: `RUNBOOK_AGENT_POLL_INTERVAL`.
    public var environmentName: String { Self.environmentPrefix + rawValue.uppercased() }

    /// Whether its value is kept out of errors and of what swift-configuration reports.
    ///
    /// Some backends give out client ids as credentials.
    public var isSecret: Bool { self == .clientID }

    static let environmentPrefix = "RUNBOOK_AGENT_"
}

/// The settings of a section `[plugin:PLUGIN_ID]`.
enum PluginKey: String, CaseIterable {
    case isolation
    case taskTimeout = "task_timeout"
    case concurrency
    case keepPrograms = "keep_programs"
    case idempotent
}
