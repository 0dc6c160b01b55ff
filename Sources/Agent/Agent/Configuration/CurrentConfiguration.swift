import AgentModel
import Synchronization

/// The configuration as it is now: what was loaded at the start, with what has been reloaded since.
final class CurrentConfiguration: Sendable {
    private let configuration: Mutex<AgentConfiguration>
    private let plugins = Mutex(Plugins())

    /// What is known of plugins whose document has come.
    private struct Plugins {
        var names: [PluginID: String] = [:]
        var settings: [PluginID: PluginSettings] = [:]
    }

    init(_ configuration: AgentConfiguration) { self.configuration = Mutex(configuration) }

    var value: AgentConfiguration { configuration.withLock { $0 } }

    /// The settings of a plugin by its id and the document's name, which is remembered.
    func settings(for id: PluginID, named name: String) -> PluginSettings {
        let settings = value.settings(for: id, named: name)
        plugins.withLock { plugins in
            plugins.names[id] = name
            plugins.settings[id] = settings
        }
        return settings
    }

    /// How many calls of a plugin may run at the same time; 1 for one whose document has not come yet.
    func concurrency(of id: PluginID) -> Int { plugins.withLock { $0.settings[id]?.concurrency ?? 1 } }

    /// Whether one-offs of a plugin may run again where the agent ended while they ran.
    func isIdempotent(_ id: PluginID) -> Bool { plugins.withLock { $0.settings[id]?.isIdempotent ?? false } }

    /// The names of the plugins whose document has come.
    var pluginNames: [PluginID: String] { plugins.withLock { $0.names } }

    /// The plugin is no longer listed.
    func forget(_ id: PluginID) {
        plugins.withLock { plugins in
            plugins.names[id] = nil
            plugins.settings[id] = nil
        }
    }

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
            current.pluginSections = other.pluginSections
            plugins.withLock { [current] plugins in
                for (id, name) in plugins.names {
                    plugins.settings[id] = current.settings(for: id, named: name)
                }
            }
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
            differ(.workers, \.workers), differ(.workersMax, \.workersMax),
            differ(.isolation, \.pluginDefaults.isolation),
            differ(.taskTimeout, \.pluginDefaults.taskTimeout), differ(.timezone, \.timezone),
            differ(.pythonPath, \.pythonPath), differ(.resultFormat, \.resultFormat), differ(.caFile, \.caFile),
            differ(.clientCertificate, \.clientCertificate), differ(.clientKey, \.clientKey),
            differ(.connectTimeout, \.connectTimeout), differ(.requestTimeout, \.requestTimeout),
            differ(.historyDays, \.historyDays), differ(.historyLimit, \.historyLimit),
            differ(.missedRuns, \.missedRuns), differ(.outboxLimit, \.outboxLimit),
            differ(.resultLimit, \.resultLimit), differ(.shutdownGrace, \.shutdownGrace),
            differ(.keepPrograms, \.pluginDefaults.keepsPrograms),
        ]
        let (oneSections, otherSections) = (one.pluginSections, other.pluginSections)
        let sections =
            (oneSections.filter { !otherSections.contains($0) } + otherSections.filter { !oneSections.contains($0) })
            .map(\.title)
        let policies = one.pluginDefaults.policy == other.pluginDefaults.policy
        return general.compactMap(\.self) + (one.sandbox == other.sandbox && policies ? [] : ["[sandbox]"])
            + Set(sections).sorted()
    }
}
