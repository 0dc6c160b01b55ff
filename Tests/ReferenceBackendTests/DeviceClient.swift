import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// A host that logs in, as the OAuth endpoints see it.
struct DeviceClient: Sendable {
    static let grantType = "urn:ietf:params:oauth:grant-type:device_code"

    struct Codes {
        var deviceCode: String
        var userCode: String
    }

    struct Tokens {
        var access: String
        var refresh: String
    }

    let backend: LiveBackend
    let http: TestClient
    var clientID = "test-client"

    init(_ backend: LiveBackend, clientID: String = "test-client") throws {
        self.backend = backend
        self.clientID = clientID
        http = try TestClient(backend)
    }

    func post(_ path: String, _ fields: [(String, String)]) async throws -> TestClient.Answer {
        try await post(path, text: Self.encoded(fields))
    }

    func post(
        _ path: String, text: String, headers: [String: String] = [:]
    ) async throws -> TestClient.Answer {
        let type = ["Content-Type": "application/x-www-form-urlencoded"]
        return try await http.send(.post, path, text: text, headers: type.merging(headers) { $1 })
    }

    func begin(scope: String = "agent") async throws -> Codes {
        let answer = try await post("/oauth/device/code", [("client_id", clientID), ("scope", scope)])
        #expect(answer.status == 200)
        return Codes(
            deviceCode: try #require(answer.json["device_code"].string),
            userCode: try #require(answer.json["user_code"].string))
    }

    func poll(_ codes: Codes) async throws -> TestClient.Answer {
        try await post(
            "/oauth/token",
            [("grant_type", Self.grantType), ("client_id", clientID), ("device_code", codes.deviceCode)])
    }

    func refresh(_ token: String, _ more: [(String, String)] = []) async throws -> TestClient.Answer {
        try await post(
            "/oauth/token",
            [("grant_type", "refresh_token"), ("client_id", clientID), ("refresh_token", token)] + more)
    }

    /// A whole login, approved as a new agent or as one that is there.
    func logIn(as choice: AgentChoice = .new(name: nil)) async throws -> Tokens {
        let codes = try await begin()
        _ = try await backend.service.approveLogin(codes.userCode, as: choice)
        return try Self.tokens(of: try await poll(codes))
    }

    static func tokens(of answer: TestClient.Answer) throws -> Tokens {
        #expect(answer.status == 200)
        return Tokens(
            access: try #require(answer.json["access_token"].string),
            refresh: try #require(answer.json["refresh_token"].string))
    }

    func agent(_ token: String) async throws -> TestClient.Answer {
        try await http.get("/api/agent", headers: ["Authorization": "Bearer \(token)"])
    }

    static func encoded(_ fields: [(String, String)]) -> String {
        let plain = CharacterSet.alphanumerics
        return fields.map { name, value in
            "\(name)=\(value.addingPercentEncoding(withAllowedCharacters: plain) ?? "")"
        }.joined(separator: "&")
    }
}

extension TestClient.Answer {
    /// An error as RFC 6749, section 5.2, has it: the code, and the three things that go with each.
    func expectOAuthError(_ code: String, status: Int = 400, location: SourceLocation = #_sourceLocation) {
        #expect(self.status == status, sourceLocation: location)
        #expect(json["error"].string == code, sourceLocation: location)
        #expect(json["error_description"].string?.isEmpty == false, sourceLocation: location)
        #expect(response.header("Cache-Control") == "no-store", sourceLocation: location)
        #expect(response.header("Content-Type") == "application/json", sourceLocation: location)
    }
}
