import AgentModel
import AgentTestSupport
import BackendClient
import Foundation

/// Speaks JSON with a live backend over the project's own HTTP client.
struct TestClient: Sendable {
    struct Answer {
        var status: Int
        var response: HTTPResponse
        /// Null where the body is no JSON.
        var json: JSONValue

        var data: JSONValue { json["data"] }
        var errorCode: JSONValue { json["error"]["code"] }
        var errorField: JSONValue { json["error"]["field"] }
        var errorMessage: String { json["error"]["message"].string ?? "" }
    }

    let backend: LiveBackend
    private let http: HTTPClient

    init(_ backend: LiveBackend) throws {
        self.backend = backend
        http = try HTTPClient()
    }

    /// As an agent, or as anybody.
    func send(
        _ method: HTTPMethod, _ path: String, json: JSONValue? = nil, text: String? = nil,
        headers: [String: String] = [:]
    ) async throws -> Answer {
        let body = (text ?? json?.text).map { Data($0.utf8) }
        let request = HTTPRequest(
            method: method, url: try HTTPURL(backend.url + path),
            headers: headers.map { HTTPHeader(name: $0.key, value: $0.value) }, body: body)
        let response = try await http.send(request)
        let json = (try? JSONDecoder().decode(JSONValue.self, from: response.body)) ?? .null
        return Answer(status: response.status, response: response, json: json)
    }

    func get(_ path: String, headers: [String: String] = [:]) async throws -> Answer {
        try await send(.get, path, headers: headers)
    }

    /// With the administration token, under `/admin/api`.
    func administer(
        _ method: HTTPMethod, _ path: String, json: JSONValue? = nil, text: String? = nil
    ) async throws -> Answer {
        try await send(
            method, "/admin/api" + path, json: json, text: text,
            headers: ["Authorization": "Bearer \(backend.administrationToken)"])
    }
}

extension JSONValue {
    subscript(key: String) -> JSONValue {
        if case .object(let fields) = self { fields[key] ?? .null } else { .null }
    }

    subscript(index: Int) -> JSONValue {
        if case .array(let elements) = self, elements.indices.contains(index) { elements[index] } else { .null }
    }

    var string: String? { if case .string(let text) = self { text } else { nil } }

    var elements: [JSONValue] { if case .array(let elements) = self { elements } else { [] } }
}
