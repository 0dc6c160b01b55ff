import PluginStore

/// Which plugin runs a command, at one version of the catalog.
struct ResolvedCommand: Sendable {
    var plugin: VerifiedPlugin
    var function: String
    /// ``PluginCatalog/version`` at that time.
    var version: Int
}

/// What was asked of the catalog: a command is resolved once for all its runs, and again where the catalog has changed.
struct ResolvedCommands: Sendable {
    private var known: [PluginCatalog.Question: ResolvedCommand] = [:]
    private var version = 0

    /// - Parameter version: the catalog's, now.
    func find(_ question: PluginCatalog.Question, at version: Int) -> ResolvedCommand? {
        version == self.version ? known[question] : nil
    }

    mutating func keep(_ command: ResolvedCommand, for question: PluginCatalog.Question) {
        if command.version != version {
            // One that is older came late.
            guard command.version > version else { return }
            known.removeAll()
            version = command.version
        }
        known[question] = command
    }
}
