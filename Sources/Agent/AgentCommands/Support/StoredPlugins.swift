import Agent
import AgentModel
import Cryptography
import Foundation
import Logging
import PluginStore
import RunJournal

/// The plugin directory without a backend, as commands for people look at it.
struct StoredPlugins {
    let store: PluginStore
    private let configuration: AgentConfiguration
    /// By plugin id; empty where no agent has run.
    let crashes: [String: PluginCrashes]
    /// Names of plugins that have a section by their id.
    private let sectionNames: [String: String]

    /// The directory that must hold a plugin.
    /// - Throws: `PluginStoreError`: `plugin.not_stored` also where no agent has made the directory yet.
    static func holding(_ id: PluginID, _ configuration: AgentConfiguration) async throws -> StoredPlugins {
        guard FileManager.default.fileExists(atPath: configuration.pluginDirectory) else {
            throw PluginStoreError.notStored(id.rawValue, missing: configuration.pluginDirectory)
        }
        return try await StoredPlugins(configuration: configuration)
    }

    /// - Throws: `PluginStoreError`.
    private init(configuration: AgentConfiguration) async throws {
        self.configuration = configuration
        store = try PluginStore(
            path: configuration.pluginDirectory, backend: nil,
            logger: Logger(label: "agent") { _ in SwiftLogNoOpLogHandler() })
        // Where no agent has run yet, or it was an older one, the plugins can be listed all the same.
        let kept = try? await Self.kept(in: configuration.stateDirectory)
        crashes = kept?.crashes ?? [:]
        sectionNames = kept?.sectionNames ?? [:]
    }

    /// What the journal has of plugins.
    private static func kept(
        in stateDirectory: String
    ) async throws(RunJournalError) -> (crashes: [String: PluginCrashes], sectionNames: [String: String]) {
        let reader = try await RunJournal.openReadOnly(directory: stateDirectory)
        let status = AgentStatus(snapshots: try await reader.snapshots())
        return (try await reader.pluginCrashes(), status.sectionNames)
    }

    /// Nil where no agent has made the directory yet: there are no plugins then.
    static func ifPresent(_ options: ConfigurationOptions) async throws -> StoredPlugins? {
        let configuration = try options.load()
        guard FileManager.default.fileExists(atPath: configuration.pluginDirectory) else { return nil }
        return try await StoredPlugins(configuration: configuration)
    }

    /// A stored plugin and whether it could be loaded as it lies there.
    struct Entry {
        let id: PluginID
        let document: PluginDocument?
        let error: PluginStoreError?
        /// How often it took the agent down, as it lies there.
        var crashes: PluginCrashes?
        /// What confines it.
        let confinement: PluginConfinement
        /// The section of an earlier version that says `isolation = sandbox`, where this one runs in the agent's process.
        var sandboxLeft: PluginSection?

        /// `verified`, `quarantined`, or the code of what is wrong.
        var state: String { error?.code ?? (crashes?.isQuarantined == true ? "quarantined" : "verified") }

        /// What is wrong, as a sentence.
        var problem: String? {
            if let error { return error.message }
            return crashes.map { crashes in
                "its code took the agent's process down \(crashes.count) times in a row, last \(crashes.cause)"
                    + (crashes.isQuarantined
                        ? "; it is not run until its script changes or 'runbook-agent plugin release \(id)'" : "")
            }
        }
    }

    func entries() async throws -> [Entry] {
        try await store.storedIDs().map(entry)
    }

    func entry(_ id: PluginID) -> Entry {
        do throws(PluginStoreError) {
            let plugin = try store.verify(id)
            let crashes = crashes[id.rawValue].flatMap { $0.scriptHash == plugin.digest.hex ? $0 : nil }
            return Entry(
                id: id, document: plugin.document, error: nil, crashes: crashes,
                confinement: confinement(of: id, plugin.document),
                sandboxLeft: configuration.sandboxLeft(
                    by: id, named: plugin.document.name, earlierNames: sectionNames))
        } catch {
            let document = try? store.document(id)
            return Entry(id: id, document: document, error: error, confinement: confinement(of: id, document))
        }
    }

    private func confinement(of id: PluginID, _ document: PluginDocument?) -> PluginConfinement {
        PluginConfinement(settings: configuration.settings(for: id, named: document?.name), request: document?.sandbox)
    }
}
