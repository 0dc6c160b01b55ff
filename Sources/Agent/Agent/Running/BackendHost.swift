import AgentModel
public import BackendClient
import Diagnostics
import Foundation
public import PythonEmbedding

/// Answers the `api` object of plugins through the agent's own client.
public struct BackendHost: PluginHost {
    private let client: BackendClient
    private let owners: TaskOwners?

    /// - Parameter owners: which plugin a task belongs to; without, none belongs to any.
    public init(client: BackendClient, owners: TaskOwners? = nil) {
        self.client = client
        self.owners = owners
    }

    public func isTask(_ task: String, of plugin: String) -> Bool {
        owners?.isTask(TaskID(task), of: plugin) ?? false
    }

    public func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse {
        guard let method = HTTPMethod(name: method) else {
            return .failed(code: "api.method", message: "\(quoted(method)) is not a method that can be sent")
        }
        let prefix = "/api/"
        // The two places that the contract opens to plugins. A sandboxed plugin may say any path.
        guard path.hasPrefix(prefix) || path == "/graphql" else {
            let error = BackendError.invalidPath(path, problem: "it is not below /api")
            return .failed(code: error.code, message: error.message)
        }
        let place = path.hasPrefix(prefix) ? BackendPath.api(String(path.dropFirst(prefix.count))) : .root(path)
        do throws(BackendError) {
            let response = try client.callAndWait(method, place, jsonBody: body.map { Data($0.utf8) })
            return .answered(status: response.status, body: Array(response.body))
        } catch {
            return .failed(code: error.code, message: error.message)
        }
    }
}
