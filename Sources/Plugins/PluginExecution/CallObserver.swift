public import AgentModel

/// Is told, on the thread itself, when that thread begins to run code of a plugin and when it is back.
public protocol CallObserver: Sendable {
    /// - Parameters:
    ///   - runID: nil where the code isn't a run's: loading, shutting down.
    ///   - scriptHash: as the image of the plugin had it.
    func codeBegins(of plugin: PluginID, runID: String?, scriptHash: String)
    func codeEnded()
}

/// Whose code it is that a job runs, for the observer.
struct ObservedCode {
    let observer: (any CallObserver)?
    let plugin: PluginID
    let scriptHash: String
    var runID: String?

    func around<Value>(_ body: () -> Value) -> Value {
        observer?.codeBegins(of: plugin, runID: runID, scriptHash: scriptHash)
        let value = body()
        // Before anything of the agent's is touched: the observer's memory is shared with the agent.
        ForkedChild.endIfSo()
        observer?.codeEnded()
        return value
    }
}
