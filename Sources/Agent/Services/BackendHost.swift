import AgentModel
public import BackendClient
import Foundation
public import PythonEmbedding

/// Answers the `api` object of plugins through the agent's own client.
public struct BackendHost: PluginHost {
    private let client: BackendClient

    public init(client: BackendClient) {
        self.client = client
    }

    public func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse {
        guard let method = HTTPMethod(name: method) else {
            return .failed(code: "api.method", message: "\(quoted(method)) is not a method that can be sent")
        }
        do throws(BackendError) {
            let response = try client.callAndWait(method, .root(path), jsonBody: body.map { Data($0.utf8) })
            return .answered(status: response.status, body: Array(response.body))
        } catch {
            return .failed(code: error.code, message: error.message)
        }
    }
}
