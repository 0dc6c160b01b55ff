import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Testing

/// Against `openssl s_server` with certificates made for the test.
@Suite(.enabled(if: FileManager.default.isExecutableFile(atPath: TLSServer.program)))
struct HTTPTLSTests {
    private func client(_ change: (inout HTTPClient.Configuration) -> Void = { _ in }) throws -> HTTPClient {
        var configuration = HTTPClient.Configuration(proxies: ProxySettings())
        change(&configuration)
        return try HTTPClient(configuration)
    }

    private func status(_ client: HTTPClient, _ url: String) async throws -> Int {
        try await client.send(HTTPRequest(url: try HTTPURL(url))).status
    }

    @Test func anUnknownCAIsRefusedAndCaFileMakesItKnown() async throws {
        let server = try TLSServer(subjectAlternativeName: "IP:127.0.0.1")
        let distrusting = try client()
        let error = await #expect(throws: HTTPClientError.self) { try await status(distrusting, server.url) }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("self-signed") == true)
        #expect(error?.message.contains("ca_file") == true)
        let trusting = try client { $0.caFile = server.certificate }
        #expect(try await status(trusting, server.url) == 200)
    }

    @Test func aCertificateForAnotherNameIsRefused() async throws {
        let server = try TLSServer(subjectAlternativeName: "DNS:other.example")
        let client = try client { $0.caFile = server.certificate }
        let error = await #expect(throws: HTTPClientError.self) { try await status(client, server.url) }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("another name") == true)
    }

    @Test func aClientCertificateIsShown() async throws {
        let server = try TLSServer(subjectAlternativeName: "IP:127.0.0.1", wantsClientCertificate: true)
        let without = try client { $0.caFile = server.certificate }
        let error = await #expect(throws: HTTPClientError.self) { try await status(without, server.url) }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("client_certificate") == true)
        let with = try client {
            $0.caFile = server.certificate
            $0.clientCertificate = server.certificate
            $0.clientKey = server.key
        }
        #expect(try await status(with, server.url) == 200)
    }

    @Test func aCaFileWithoutCertificateIsNamed() async throws {
        let server = try TLSServer(subjectAlternativeName: "IP:127.0.0.1")
        let client = try client { $0.caFile = server.key }
        let error = await #expect(throws: HTTPClientError.self) { try await status(client, server.url) }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("ca_file must be") == true)
    }

    /// OpenSSL would ask for it on the terminal, on the client's own thread.
    @Test func nobodyIsAskedForThePasswordOfAKey() async throws {
        let server = try TLSServer(subjectAlternativeName: "IP:127.0.0.1", wantsClientCertificate: true)
        let key = try server.encryptedKey()
        let client = try client {
            $0.caFile = server.certificate
            $0.clientCertificate = server.certificate
            $0.clientKey = key
        }
        let error = await #expect(throws: HTTPClientError.self) { try await status(client, server.url) }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("client_key") == true, "\(String(describing: error))")
    }

    @Test func anOldServerIsToldFromAnUnknownOne() async throws {
        let server = try TLSServer(
            subjectAlternativeName: "IP:127.0.0.1", options: ["-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"])
        let client = try client { $0.caFile = server.certificate }
        let error = await #expect(throws: HTTPClientError.self) { try await status(client, server.url) }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("before 1.2") == true, "\(String(describing: error))")
    }

    @Test func aWeakKeyIsNamed() async throws {
        let server = try TLSServer(
            subjectAlternativeName: "IP:127.0.0.1", newKey: ["rsa:1024"], options: ["-cipher", "DEFAULT:@SECLEVEL=0"])
        let client = try client { $0.caFile = server.certificate }
        let error = await #expect(throws: HTTPClientError.self) { try await status(client, server.url) }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("too weak") == true, "\(String(describing: error))")
    }

    /// `make test` installs what it needs: there its absence is a failure.
    private static let canServeHTTP2 =
        FileManager.default.isExecutableFile(atPath: HTTP2Server.program)
        || ProcessInfo.processInfo.environment["CI"] != nil

    @Test(.enabled(if: canServeHTTP2, "it needs /usr/bin/python3"))
    func requestsShareOneConnectionOfHTTP2() async throws {
        struct Answer: Decodable {
            var connection: Int
            var stream: Int
        }
        let tls = try TLSServer(subjectAlternativeName: "IP:127.0.0.1")
        let server = try HTTP2Server(certificate: tls.certificate, key: tls.key)
        let client = try client { $0.caFile = tls.certificate }
        @Sendable func answer(_ body: Data?) async throws -> Answer {
            var request = HTTPRequest(method: body == nil ? .get : .post, url: try HTTPURL(server.url), body: body)
            request.timeLimit = .seconds(30)
            let response = try await client.send(request)
            #expect(response.status == 200)
            return try JSONDecoder().decode(Answer.self, from: response.body)
        }
        let first = try await answer(nil)
        let others = try await withThrowingTaskGroup(of: Answer.self) { group in
            for number in 0..<HTTP2Server.atATime {
                group.addTask { try await answer(number % 2 == 0 ? nil : Data("{}".utf8)) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(([first] + others).map(\.connection) == Array(repeating: 1, count: HTTP2Server.atATime + 1))
        #expect(Set(others.map(\.stream)).count == HTTP2Server.atATime)
    }

    @Test func aPlainServerIsNoTLSServer() async throws {
        let server = try ScriptedServer()
        let client = try client()
        let error = await #expect(throws: HTTPClientError.self) {
            try await status(client, "https://127.0.0.1:\(server.port)/")
        }
        #expect(error?.code == "http.tls")
        #expect(error?.message.contains("seems not to speak TLS") == true)
        #expect(server.requests.isEmpty)
    }
}
