import AgentModel
import BackendClient
import Diagnostics
import Foundation

/// The administration API of runbook-backend (`docs/backend.md`).
struct AdministrationClient: Sendable {
    private let base: String
    private let token: String
    private let http: HTTPClient

    /// - Throws: `HTTPClientError` for an address that is none.
    init(_ login: SavedLogin) throws(HTTPClientError) {
        base = String(login.url.reversed().drop { $0 == "/" }.reversed())
        token = login.token
        HiddenSecrets.add([login.token])
        var configuration = HTTPClient.Configuration()
        configuration.userAgent = "runbook"
        configuration.caFile = login.caFile
        http = try HTTPClient(configuration)
        _ = try HTTPURL(base)
    }

    // MARK: Requests

    func get(_ path: String, _ query: [String: String] = [:], limit: Duration? = nil) async throws -> Data {
        try await send(.get, path, query, limit: limit)
    }

    @discardableResult
    func post(_ path: String, _ body: JSONValue = [:]) async throws -> Data { try await send(.post, path, body: body) }

    @discardableResult
    func patch(_ path: String, _ body: JSONValue) async throws -> Data { try await send(.patch, path, body: body) }

    @discardableResult
    func put(_ path: String) async throws -> Data { try await send(.put, path) }

    @discardableResult
    func delete(_ path: String) async throws -> Data { try await send(.delete, path) }

    /// The content of an answer's envelope.
    func value<Value: Decodable>(_ data: Data, as type: Value.Type = Value.self) throws -> Value {
        do {
            return try JSONDecoder().decode(Envelope<Value>.self, from: data).data
        } catch let error as DecodingError {
            throw ClientError.notABackend(url: base, problem: error.sentence)
        }
    }

    /// All elements of a list, page after page.
    func all<Element: Decodable>(
        _ path: String, _ query: [String: String] = [:], atMost limit: Int = .max, as type: Element.Type = Element.self
    ) async throws -> [Element] {
        var elements: [Element] = []
        var query = query
        repeat {
            query["limit"] = "\(min(Self.pageSize, limit - elements.count))"
            let data = try await get(path, query)
            elements += try value(data, as: [Element].self)
            query["cursor"] = (try? JSONDecoder().decode(Cursor.self, from: data))?.nextCursor
        } while query["cursor"] != nil && elements.count < limit
        return elements
    }

    private static let pageSize = 200

    private struct Cursor: Decodable {
        var nextCursor: String?

        private enum CodingKeys: String, CodingKey { case nextCursor = "next_cursor" }
    }

    /// A text as one segment of a path.
    static func segment(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: Self.unreserved) ?? text
    }

    private static let unreserved = CharacterSet(
        charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")

    private func send(
        _ method: HTTPMethod, _ path: String, _ query: [String: String] = [:], body: JSONValue? = nil,
        limit: Duration? = nil
    ) async throws -> Data {
        var text = base + "/admin/api/" + path
        if !query.isEmpty {
            text += "?" + query.sorted { $0.key < $1.key }.map { "\($0)=\(Self.segment($1))" }.joined(separator: "&")
        }
        var headers = [HTTPHeader(name: "Authorization", value: "Bearer \(token)", isSecret: true)]
        if body != nil { headers.append(HTTPHeader(name: "Content-Type", value: "application/json")) }
        let response = try await http.send(
            HTTPRequest(
                method: method, url: try HTTPURL(text), headers: headers, body: body.map { Data($0.text.utf8) },
                timeLimit: limit, idleLimit: limit, keepsMethod: true))
        guard (200..<300).contains(response.status) else { throw error(of: response) }
        return response.body
    }

    private func error(of response: HTTPResponse) -> ClientError {
        struct Refusal: Decodable {
            struct Content: Decodable {
                var code: String
                var message: String
            }

            var error: Content
        }
        guard let refusal = try? JSONDecoder().decode(Refusal.self, from: response.body) else {
            return .notABackend(url: base, problem: "it answers with status \(response.status)")
        }
        return .refused(
            code: refusal.error.code.withoutControlCharacters, message: refusal.error.message.withoutControlCharacters)
    }
}
