import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Testing

@Suite struct HTTPRedirectTests {
    let server: ScriptedServer
    let foreign: ScriptedServer
    let client: HTTPClient

    init() throws {
        server = try ScriptedServer()
        foreign = try ScriptedServer()
        client = try HTTPClient(HTTPClient.Configuration(proxies: ProxySettings()))
    }

    private func send(_ path: String, method: HTTPMethod = .get, body: Data? = nil) async throws -> HTTPResponse {
        let headers = [
            HTTPHeader(name: "Authorization", value: "Bearer hush", isSecret: true),
            HTTPHeader(name: "Content-Type", value: "application/json"), HTTPHeader(name: "X-Plain", value: "1"),
        ]
        return try await client.send(
            HTTPRequest(method: method, url: try HTTPURL(server.url + path), headers: headers, body: body))
    }

    struct Kept: Sendable, CustomTestStringConvertible {
        var status: Int
        var method: HTTPMethod
        var becomes: String
        var testDescription: String { "\(status) \(method.rawValue)" }
    }

    @Test(arguments: [
        Kept(status: 301, method: .post, becomes: "POST"), Kept(status: 302, method: .post, becomes: "POST"),
        Kept(status: 303, method: .post, becomes: "GET"), Kept(status: 307, method: .post, becomes: "POST"),
        Kept(status: 308, method: .post, becomes: "POST"), Kept(status: 308, method: .delete, becomes: "DELETE"),
    ])
    func methodAndBodyAreKeptButFor303(kept: Kept) async throws {
        server.route("/a", .redirect(kept.status, to: "/b"))
        server.route("/b", .json("{}"))
        _ = try await send("/a", method: kept.method, body: Data("body".utf8))
        let last = try #require(server.requests.last)
        #expect(last.method == kept.becomes)
        #expect(last.body == Data((kept.becomes == "GET" ? "" : "body").utf8))
        #expect((last.header("Content-Type") == nil) == (kept.becomes == "GET"))
        #expect(last.header("Authorization") == "Bearer hush")
    }

    struct Location: Sendable, CustomTestStringConvertible {
        var location: String
        var target: String
        var testDescription: String { location }
    }

    @Test(arguments: [
        Location(location: "/api/agent/", target: "/api/agent/"), Location(location: "x", target: "/api/x"),
        Location(location: "../y?q=1", target: "/y?q=1"), Location(location: "?q=2", target: "/api/agent?q=2"),
        Location(location: "/with space/é", target: "/with%20space/%c3%a9"),
        Location(location: "/f#fragment", target: "/f"),
    ])
    func aRelativeLocationIsResolved(location: Location) async throws {
        server.route("/api/agent", .redirect(308, to: location.location), .json("{}"))
        let response = try await send("/api/agent")
        #expect(server.requests.last?.target.lowercased() == location.target.lowercased())
        #expect(response.url.text.lowercased() == server.url + location.target.lowercased())
    }

    @Test func noTokenLeavesItsOrigin() async throws {
        server.route("/a", .redirect(302, to: foreign.url + "/b"))
        foreign.route("/b", .json("{}"))
        _ = try await send("/a", method: .post, body: Data("x".utf8))
        let received = try #require(foreign.requests.first)
        #expect(received.header("Authorization") == nil)
        #expect(received.header("X-Plain") == "1")
        #expect(!received.headers.contains { $0.value.contains("hush") })
        #expect(server.requests.first?.header("Authorization") == "Bearer hush")
    }

    @Test func aTokenStaysAwayFromEveryForeignHopAndIsSentAgainAtHome() async throws {
        server.route("/a", .redirect(302, to: foreign.url + "/b"))
        foreign.route("/b", .redirect(302, to: "/c"))
        foreign.route("/c", .redirect(302, to: server.url + "/d"))
        server.route("/d", .json("{}"))
        _ = try await send("/a")
        #expect(foreign.requests.map { $0.header("Authorization") } == [nil, nil])
        #expect(server.requests.map { $0.header("Authorization") } == ["Bearer hush", "Bearer hush"])
    }

    @Test func theSameAddressUnderAnotherNameIsAnotherOrigin() async throws {
        server.route("/a", .redirect(302, to: "http://localhost:\(server.port)/b"))
        server.route("/b", .json("{}"))
        // Where localhost is ::1 alone nobody answers, and nobody gets the token either.
        _ = try? await send("/a")
        #expect(server.requests.dropFirst().allSatisfy { $0.header("Authorization") == nil })
    }

    @Test func aLoopEnds() async throws {
        server.route("/a", .redirect(302, to: "/b"))
        server.route("/b", .redirect(302, to: "/a"))
        let error = await #expect(throws: HTTPClientError.self) { try await send("/a") }
        #expect(error?.code == "http.redirect_loop")
        #expect(server.requests.count == client.configuration.redirectLimit + 1)
    }

    @Test func tenRedirectsAreFollowed() async throws {
        for index in 0..<10 { server.route("/\(index)", .redirect(307, to: "/\(index + 1)")) }
        server.route("/10", .json("{}"))
        let response = try await send("/0")
        #expect(response.status == 200)
    }

    @Test(arguments: ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:word@127.0.0.1/", "gopher://x"])
    func aRedirectToSomethingElseIsRefused(location: String) async throws {
        server.route("/a", .redirect(302, to: location))
        let error = await #expect(throws: HTTPClientError.self) { try await send("/a") }
        #expect(error?.code == "http.redirect_refused")
    }

    @Test func aRedirectWithoutLocationIsTheAnswer() async throws {
        server.route("/a", .json("{}", status: 302))
        #expect(try await send("/a").status == 302)
    }

    @Test func connectionsSurviveRedirects() async throws {
        server.route("/a", .redirect(308, to: "/b"))
        server.route("/b", .json("{}"))
        for _ in 0..<5 { _ = try await send("/a") }
        #expect(server.connectionCount == 1)
    }
}
