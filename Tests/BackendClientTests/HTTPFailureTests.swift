import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Testing

@Suite struct HTTPFailureTests {
    let server: ScriptedServer
    let client: HTTPClient

    init() throws {
        server = try ScriptedServer()
        var configuration = HTTPClient.Configuration(proxies: ProxySettings())
        configuration.responseLimit = 100_000
        client = try HTTPClient(configuration)
    }

    private func failure(_ url: String, timeLimit: Duration? = nil, idleLimit: Duration? = nil) async throws
        -> HTTPClientError?
    {
        let request = HTTPRequest(url: try HTTPURL(url), timeLimit: timeLimit, idleLimit: idleLimit)
        return await #expect(throws: HTTPClientError.self) { try await client.send(request) }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var answer: ScriptedServer.Answer
        var code: String
        var testDescription: String { name }
    }

    @Test(arguments: [
        Case(name: "closed before answering", answer: .close, code: "http.connection_lost"),
        Case(
            name: "truncated", answer: .truncated(body: Data("{\"data\":".utf8), announced: 100),
            code: "http.connection_lost"),
        Case(
            name: "reset in the body", answer: .reset(body: Data("{\"data\":".utf8), announced: 100),
            code: "http.connection_lost"),
        Case(
            name: "closed in the header", answer: .raw(Data("HTTP/1.1 200 OK\r\nContent".utf8)),
            code: "http.connection_lost"),
        Case(name: "no HTTP", answer: .raw(Data("SSH-2.0-OpenSSH_9.2\r\n".utf8)), code: "http.invalid_response"),
        Case(
            name: "endless header", answer: .raw(Data(("HTTP/1.1 200 OK\r\n" + header(megabytes: 1)).utf8)),
            code: "http.invalid_response"),
        Case(
            name: "something behind the end of what is compressed",
            answer: .response(
                status: 200, headers: ["Content-Encoding": "gzip"],
                body: Gzip.zeros(1000) + Data(repeating: 0x78, count: 60_000)), code: "http.invalid_response"),
        Case(
            name: "broken compression",
            answer: .response(status: 200, headers: ["Content-Encoding": "gzip"], body: Data("no gzip at all".utf8)),
            code: "http.invalid_response"),
        Case(
            name: "too large, announced",
            answer: .response(status: 200, headers: [:], body: Data(repeating: 0x20, count: 100_001)),
            code: "http.response_too_large"),
        Case(
            name: "too large, not announced",
            answer: .raw(Data("HTTP/1.1 200 OK\r\n\r\n".utf8) + Data(repeating: 0x20, count: 100_001)),
            code: "http.response_too_large"),
        Case(
            name: "gzip bomb",
            answer: .response(
                status: 200, headers: ["Content-Encoding": "gzip"], body: Gzip.zeros(5_000_000)),
            code: "http.response_too_large"),
    ])
    func aBrokenAnswerIsAnErrorWithACode(testCase: Case) async throws {
        server.route("/x", testCase.answer)
        let error = try await failure(server.url + "/x")
        #expect(error?.code.hasPrefix(testCase.code) == true, "\(String(describing: error))")
        #expect(error?.message.contains("127.0.0.1:\(server.port)") == true)
    }

    private static func header(megabytes: Int) -> String {
        String(repeating: "X-Filler: " + String(repeating: "x", count: 990) + "\r\n", count: 1000 * megabytes)
    }

    @Test func anAnswerAtTheLimitIsTaken() async throws {
        server.route("/x", .response(status: 200, headers: [:], body: Data(repeating: 0x20, count: 100_000)))
        let response = try await client.send(HTTPRequest(url: try HTTPURL(server.url + "/x")))
        #expect(response.body.count == 100_000)
    }

    @Test func nobodyListens() async throws {
        let url = server.url
        server.stop()
        // The stopped server's thread closes the port a moment later; a connection until then is closed unanswered.
        var error = try await failure(url + "/x")
        while error?.code == "http.connection_lost" { error = try await failure(url + "/x") }
        #expect(error?.code == "http.unreachable")
        #expect(error?.message.contains("127.0.0.1") == true)
        #expect(error?.message.contains("\(server.port)") == true)
        #expect(error?.message.contains("Connection refused") == true)
    }

    @Test func aNameWithoutAddress() async throws {
        // A label over 63 characters is refused without asking a server.
        let host = String(repeating: "a", count: 70) + ".invalid"
        let error = try await failure("http://\(host)/")
        #expect(error?.code == "http.name_not_resolved")
        #expect(error?.message.contains(host) == true)
    }

    @Test func noAnswerInTime() async throws {
        server.route("/x", .silence)
        let error = try await failure(server.url + "/x", timeLimit: .milliseconds(100))
        #expect(error?.code == "http.timeout")
        await server.waitForEndedSilences(1)
    }

    @Test func theTimeLimitHoldsForAllRedirectsTogether() async throws {
        server.route("/a", .redirect(302, to: "/b"))
        server.route("/b", .silence)
        let error = try await failure(server.url + "/a", timeLimit: .milliseconds(200))
        #expect(error?.code == "http.timeout")
    }

    @Test func aDripIsGivenUp() async throws {
        server.route("/x", .drip(body: Data(repeating: 0x20, count: 10_000), interval: .milliseconds(100)))
        let error = try await failure(server.url + "/x", idleLimit: .seconds(1))
        #expect(error?.code == "http.timeout")
        #expect(error?.message.contains("almost nothing") == true)
    }

    @Test(arguments: [
        "", "localhost:8787", "ftp://host/", "file:///etc/passwd", "http://", "http://user:secret@host/",
        "http://host:99999/", "http://host/\r\nX: 1", "//host/", "http://ho st/",
    ])
    func aBadURLIsRefused(text: String) {
        let error = #expect(throws: HTTPClientError.self) { try HTTPURL(text) }
        #expect(error?.code == "http.invalid_url")
    }

    @Test func filesOfTheConfigurationMustBeReadable() {
        var configuration = HTTPClient.Configuration(proxies: ProxySettings())
        configuration.caFile = "/nowhere/ca.pem"
        let error = #expect(throws: HTTPClientError.self) { try HTTPClient(configuration) }
        #expect(error?.code == "http.unreadable_file")
        #expect(error?.message.contains("ca_file") == true)
        #expect(error?.message.contains("No such file") == true)
    }
}
