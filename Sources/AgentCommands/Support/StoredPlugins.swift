import Agent
import AgentModel
import Foundation
import Logging
import PluginStore

/// The plugin directory without a backend, as commands for people look at it.
struct StoredPlugins {
    let store: PluginStore

    /// - Throws: `ConfigurationError`, `PluginStoreError`.
    init(_ options: ConfigurationOptions) throws {
        try self.init(configuration: options.load())
    }

    /// - Throws: `PluginStoreError`.
    init(configuration: AgentConfiguration) throws {
        store = try PluginStore(
            path: configuration.pluginDirectory, backend: nil,
            logger: Logger(label: "agent") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Nil where no agent has made the directory yet: there are no plugins then.
    static func ifPresent(_ options: ConfigurationOptions) throws -> StoredPlugins? {
        let configuration = try options.load()
        guard FileManager.default.fileExists(atPath: configuration.pluginDirectory) else { return nil }
        return try StoredPlugins(configuration: configuration)
    }

    /// A stored plugin and whether it could be loaded as it lies there.
    struct Entry {
        let id: PluginID
        let document: PluginDocument?
        let error: PluginStoreError?

        /// `verified`, or the code of what is wrong.
        var state: String { error?.code ?? "verified" }
    }

    func entries() throws -> [Entry] {
        try store.storedIDs().map(entry)
    }

    func entry(_ id: PluginID) -> Entry {
        do throws(PluginStoreError) {
            return Entry(id: id, document: try store.verify(id).document, error: nil)
        } catch {
            return Entry(id: id, document: try? store.document(id), error: error)
        }
    }
}
