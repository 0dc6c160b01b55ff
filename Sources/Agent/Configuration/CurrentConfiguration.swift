import Synchronization

/// The configuration as it is now: what was loaded at the start, with what has been reloaded since.
final class CurrentConfiguration: Sendable {
    private let configuration: Mutex<AgentConfiguration>

    init(_ configuration: AgentConfiguration) { self.configuration = Mutex(configuration) }

    var value: AgentConfiguration { configuration.withLock { $0 } }

    /// Takes from another configuration what can change while the agent runs.
    ///
    /// - Returns: the names of the settings that differed: those that are in effect now, and those that need a restart.
    func take(from other: AgentConfiguration) -> (taken: [String], needRestart: [String]) {
        configuration.withLock { current in
            let before = current
            current.pollInterval = other.pollInterval
            current.resultFormat = other.resultFormat
            current.shutdownGrace = other.shutdownGrace
            current.outboxLimit = other.outboxLimit
            current.pluginDefaults = other.pluginDefaults
            current.plugins = other.plugins
            return (Self.differences(before, current), Self.differences(current, other))
        }
    }

    /// The names of the settings in which two configurations differ.
    private static func differences(_ one: AgentConfiguration, _ other: AgentConfiguration) -> [String] {
        func differ(_ key: ConfigurationKey, _ path: KeyPath<AgentConfiguration, some Equatable>) -> String? {
            one[keyPath: path] == other[keyPath: path] ? nil : key.rawValue
        }
        let general = [
            differ(.serverURL, \.serverURL), differ(.clientID, \.clientID), differ(.auth, \.auth),
            differ(.allowInsecure, \.allowInsecure), differ(.scope, \.scope),
            differ(.deviceCodePath, \.deviceCodePath), differ(.tokenPath, \.tokenPath),
            differ(.revocationPath, \.revocationPath), differ(.keyFile, \.keyFile),
            differ(.forceRedownload, \.forceRedownload), differ(.pluginDirectory, \.pluginDirectory),
            differ(.stateDirectory, \.stateDirectory), differ(.pollInterval, \.pollInterval),
            differ(.workers, \.workers), differ(.isolation, \.pluginDefaults.isolation),
            differ(.taskTimeout, \.pluginDefaults.taskTimeout), differ(.timezone, \.timezone),
            differ(.pythonPath, \.pythonPath), differ(.resultFormat, \.resultFormat), differ(.caFile, \.caFile),
            differ(.clientCertificate, \.clientCertificate), differ(.clientKey, \.clientKey),
            differ(.connectTimeout, \.connectTimeout), differ(.requestTimeout, \.requestTimeout),
            differ(.historyDays, \.historyDays), differ(.historyLimit, \.historyLimit),
            differ(.missedRuns, \.missedRuns), differ(.outboxLimit, \.outboxLimit),
            differ(.resultLimit, \.resultLimit), differ(.shutdownGrace, \.shutdownGrace),
        ]
        let plugins = Set(one.plugins.keys).union(other.plugins.keys)
            .filter { one.settings(for: $0) != other.settings(for: $0) }
        let policies = one.pluginDefaults.policy == other.pluginDefaults.policy
        return general.compactMap(\.self) + (one.sandbox == other.sandbox && policies ? [] : ["[sandbox]"])
            + plugins.sorted().map { "[plugin:\($0)]" }
    }
}
