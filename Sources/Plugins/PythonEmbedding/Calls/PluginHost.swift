/// What plugins may ask of the agent through their `api` object.
public protocol PluginHost: Sendable {
    /// Sends a request to the backend with the agent's credentials and waits for the answer. Called on a thread of
    /// ours with the GIL released.
    ///
    /// - Parameters:
    ///   - path: begins with a slash, below the backend's address.
    ///   - body: JSON text, or nil.
    func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse

    /// Whether a task that is listed for this agent, or is under way, has a command of this plugin. May block.
    func isTask(_ task: String, of plugin: String) -> Bool
}

extension PluginHost {
    /// A host without tasks.
    public func isTask(_ task: String, of plugin: String) -> Bool { false }
}

/// The answer to a request of a plugin.
public enum PluginHostResponse: Sendable, Equatable {
    /// An answer of the backend, whatever its status.
    case answered(status: Int, body: [UInt8])
    /// There was none. The code is one of `docs/errors.md`.
    case failed(code: String, message: String)
}

/// The host of an interpreter without a backend: `plugin call` on a file, tests of the executor.
public struct DetachedHost: PluginHost {
    public init() {}

    public func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse {
        .failed(
            code: "api.no_backend",
            message: "this plugin runs without a backend; give a configuration with 'server_url' to use the api object")
    }
}
