import AgentModel
import AgentTestSupport
import BackendClient
import Diagnostics
import Foundation
import Testing

@Suite struct HTTPClientTests {
    let server: ScriptedServer
    let client: HTTPClient

    init() throws {
        server = try ScriptedServer()
        client = try HTTPClient(HTTPClient.Configuration(proxies: ProxySettings()))
    }

    private func request(
        _ path: String, method: HTTPMethod = .get, headers: [HTTPHeader] = [], body: Data? = nil
    ) throws -> HTTPRequest {
        HTTPRequest(method: method, url: try HTTPURL(server.url + path), headers: headers, body: body)
    }

    @Test(arguments: HTTPMethod.allCases) func carriesMethodHeadersAndBody(method: HTTPMethod) async throws {
        server.route("/echo") { request in .response(status: 201, headers: ["X-Seen": "yes"], body: request.body) }
        let body = method == .get || method == .head ? nil : Data("{\"é\": 1}".utf8)
        let headers = [
            HTTPHeader(name: "X-One", value: "1"), HTTPHeader(name: "X-Empty", value: ""),
            HTTPHeader(name: "X-Secret", value: "s", isSecret: true),
        ]
        let response = try await client.send(try request("/echo?a=b", method: method, headers: headers, body: body))
        #expect(response.status == 201)
        #expect(response.header("x-SEEN") == "yes")
        #expect(response.body == (body ?? Data()))
        let seen = try #require(server.requests.first)
        #expect(seen.method == method.rawValue)
        #expect(seen.target == "/echo?a=b")
        #expect(seen.header("X-One") == "1")
        #expect(seen.header("X-Empty") == "")
        #expect(seen.header("X-Secret") == "s")
        #expect(seen.header("User-Agent") == "runbook-agent")
        // What libcurl would add by itself.
        #expect(seen.header("Expect") == nil)
        #expect(seen.header("Content-Type") == nil)
    }

    @Test func aPostWithoutBodyIsAnEmptyOne() async throws {
        server.route("/p", .json("{}"))
        _ = try await client.send(try request("/p", method: .post))
        #expect(server.requests.first?.header("Content-Length") == "0")
    }

    @Test func tenMegabytesGoOutAndComeBack() async throws {
        server.route("/echo") { .response(status: 200, headers: [:], body: $0.body) }
        let body = Data((0..<10_000_000).map { UInt8(truncatingIfNeeded: $0) })
        let response = try await client.send(try request("/echo", method: .put, body: body))
        #expect(response.body == body)
    }

    // Past 16 connections that carried something each request made a new one: with a backend that answers some slowly.
    @Test func connectionsSurviveBesideManySlowAnswers() async throws {
        server.route("/slow", .silence)
        server.route("/quick", .json("{}"))
        let slow = try (0..<40).map { _ in
            let request = try request("/slow")
            return Task { try await client.send(request) }
        }
        await server.waitForRequests(40)
        for _ in 0..<30 { _ = try await client.send(try request("/quick")) }
        #expect(server.connectionCount <= 42)
        for task in slow { task.cancel() }
        for task in slow { _ = try? await task.value }
    }

    @Test func aHundredRequestsAtOnceShareConnections() async throws {
        server.route("/many", .json(#"{"data": 1}"#))
        let request = try request("/many")
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<100 { group.addTask { try await client.send(request).status } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses == Array(repeating: 200, count: 100))
        #expect(server.requests.count == 100)
        #expect(server.connectionCount <= client.configuration.concurrency)
        let later = try await client.send(request)
        #expect(later.reusedConnection)
        #expect(server.connectionCount <= client.configuration.concurrency)
    }

    @Test func aConnectionThatTheServerClosedIsReplaced() async throws {
        server.route("/a", .raw(Data("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".utf8)))
        for _ in 0..<3 {
            let response = try await client.send(try request("/a"))
            #expect(response.body == Data("ok".utf8))
        }
    }

    @Test func blocksAThreadThatMayBlock() async throws {
        server.route("/b", .redirect(302, to: "/c"))
        server.route("/c", .json("[]"))
        let request = try request("/b")
        let result = await withCheckedContinuation { continuation in
            Thread.detachNewThread { [client] in
                continuation.resume(returning: Result { try client.sendAndWait(request) })
            }
        }
        #expect(try result.get().body == Data("[]".utf8))
        #expect(try result.get().url.path == "/c")
    }

    @Test func interimAnswersAndTrailersAreLeftOut() async throws {
        let text = """
            HTTP/1.1 103 Early Hints\r\nX-Interim: yes\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\nok\r\n0\r\nX-Trailer: yes\r\n\r\n
            """
        server.route("/i", .raw(Data(text.utf8)))
        let response = try await client.send(try request("/i"))
        #expect(response.status == 200)
        #expect(response.header("X-Interim") == nil)
        #expect(response.header("X-Trailer") == nil)
        #expect(response.body == Data("ok".utf8))
    }

    @Test func aCompressedBodyIsDecoded() async throws {
        server.route("/z") { request in
            .response(
                status: 200, headers: ["Content-Encoding": "gzip"],
                body: request.header("Accept-Encoding")?.contains("gzip") == true ? Gzip.zeros(1000) : Data())
        }
        let response = try await client.send(try request("/z"))
        #expect(response.body.count == 1000)
        #expect(response.body.allSatisfy { $0 == 0 })
    }

    // MARK: Headers

    struct BadHeader: Sendable, CustomTestStringConvertible {
        var name: String
        var header: HTTPHeader
        var testDescription: String { name }
    }

    @Test(arguments: [
        BadHeader(name: "line break", header: HTTPHeader(name: "X", value: "a\r\nX-Smuggled: 1")),
        BadHeader(name: "NUL", header: HTTPHeader(name: "X", value: "a\u{0}b")),
        BadHeader(name: "colon in the name", header: HTTPHeader(name: "X: 1\r\nY", value: "a")),
        BadHeader(name: "no name", header: HTTPHeader(name: "", value: "a")),
        BadHeader(name: "length", header: HTTPHeader(name: "Content-Length", value: "1")),
        BadHeader(name: "host", header: HTTPHeader(name: "HOST", value: "elsewhere")),
        BadHeader(
            name: "secret", header: HTTPHeader(name: "Authorization", value: "Bearer hush\n", isSecret: true)),
    ])
    func aHeaderThatCouldForgeOthersIsRefused(bad: BadHeader) async throws {
        let request = try request("/x", headers: [bad.header])
        let error = await #expect(throws: HTTPClientError.self) { try await client.send(request) }
        #expect(error?.code == "http.invalid_header")
        #expect(error?.description.contains("hush") == false)
        #expect(server.requests.isEmpty)
    }

    @Test func secretsAreNotShown() throws {
        let request = try request("/x", headers: [HTTPHeader(name: "A", value: "hush", isSecret: true)])
        var text = "\(request) \(request.headers) \(String(reflecting: request)) "
        dump(request, to: &text)
        dump(Authorization(bearer: "hush"), to: &text)
        text += "\(Authorization(bearer: "hush")) \(String(reflecting: Authorization(bearer: "hush")))"
        dump(ProxySettings(http: "http://user:hush@proxy:1"), to: &text)
        #expect(!text.contains("hush"))
    }

    // MARK: Cancellation and the end

    @Test func cancellationGivesTheTransferUp() async throws {
        server.route("/wait", .silence)
        let request = try request("/wait")
        let task = Task { [client] in try await client.send(request) }
        await server.waitForRequests(1)
        task.cancel()
        let error = await #expect(throws: HTTPClientError.self) { try await task.value }
        #expect(error?.code == "http.cancelled")
        // The connection is gone and not left to its time limit.
        await server.waitForEndedSilences(1)
    }

    @Test func aTaskThatIsCancelledAlreadySendsNothingToWaitFor() async throws {
        server.route("/wait", .silence)
        let request = try request("/wait")
        let task = Task { [client] in
            await withCheckedContinuation { continuation in
                withUnsafeCurrentTask { $0?.cancel() }; continuation.resume()
            }
            return try await client.send(request)
        }
        let error = await #expect(throws: HTTPClientError.self) { try await task.value }
        #expect(error?.code == "http.cancelled")
    }

    @Test func whatWaitsForASlotCanBeCancelledAndTimesOut() async throws {
        var configuration = HTTPClient.Configuration(proxies: ProxySettings())
        configuration.concurrency = 1
        let client = try HTTPClient(configuration)
        server.route("/wait", .silence)
        let first = try request("/wait")
        let holder = Task { try await client.send(first) }
        await server.waitForRequests(1)
        var hurried = try request("/other")
        hurried.timeLimit = .milliseconds(30)
        let timeout = await #expect(throws: HTTPClientError.self) { try await client.send(hurried) }
        #expect(timeout?.code == "http.timeout")
        let other = try request("/other")
        let waiting = Task { try await client.send(other) }
        waiting.cancel()
        let cancelled = await #expect(throws: HTTPClientError.self) { try await waiting.value }
        #expect(cancelled?.code == "http.cancelled")
        holder.cancel()
        _ = await holder.result
        #expect(server.requests.count == 1)
    }

    @Test func shutdownEndsWhatIsUnderWayAndRefusesMore() async throws {
        server.route("/wait", .silence)
        // More requests than it has under way at the same time: the others wait for their turn.
        var configuration = HTTPClient.Configuration(proxies: ProxySettings())
        configuration.concurrency = 8
        let client = try HTTPClient(configuration)
        let request = try request("/wait")
        let tasks = (0..<20).map { _ in Task { try await client.send(request) } }
        await server.waitForRequests(configuration.concurrency)
        await client.shutdown()
        for task in tasks {
            let error = await #expect(throws: HTTPClientError.self) { try await task.value }
            #expect(error?.code == "http.shut_down")
        }
        let error = await #expect(throws: HTTPClientError.self) { try await client.send(request) }
        #expect(error?.code == "http.shut_down")
        await client.shutdown()
        client.shutdownAndWait()
    }

    @Test func manyShortLivedClientsEndByThemselves() async throws {
        server.route("/s", .json("{}"))
        for _ in 0..<50 {
            let client = try HTTPClient(HTTPClient.Configuration(proxies: ProxySettings()))
            _ = try await client.send(try request("/s"))
        }
        #expect(server.requests.count == 50)
    }
}
