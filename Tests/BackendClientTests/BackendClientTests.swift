import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Synchronization
import Testing

@Suite struct BackendClientTests {
    let server: ScriptedServer
    let http: HTTPClient

    init() throws {
        server = try ScriptedServer()
        http = try HTTPClient(HTTPClient.Configuration(proxies: ProxySettings()))
    }

    private func backend(
        _ suffix: String = "", credentials: any CredentialProvider = NoCredentials(),
        limits: BackendClient.Limits = BackendClient.Limits()
    ) throws -> BackendClient {
        try BackendClient(serverURL: server.url + suffix, http: http, credentials: credentials, limits: limits)
    }

    static let agent = #"{"data": {"id": "a", "name": null, "team_id": null, "plugins": null, "more": 1}}"#

    private func plugin(id: String = "p1", script: String = "class Plugin: pass\r\n") throws -> ScriptedServer.Answer {
        let document = PluginDocument(
            id: id, name: "P", version: .integer(0), description: nil, script: script, hash: "00", commands: [:])
        return .json(String(decoding: try JSONEncoder().encode(Envelope(data: document)), as: UTF8.self))
    }

    @Test(arguments: ["", "/", "//", "/base", "/base/"]) func theServerURLMayEndInASlash(suffix: String) async throws {
        let path = (suffix.contains("base") ? "/base" : "") + "/api/agent"
        server.route(path, .json(Self.agent))
        guard case .changed(let agent, nil) = try await backend(suffix).agent() else {
            Issue.record("unchanged")
            return
        }
        #expect(agent.id == "a")
        #expect(agent.plugins == [])
        #expect(server.requests.map(\.target) == [path])
        #expect(server.requests.first?.header("Accept") == "application/json")
        #expect(server.requests.first?.header("Authorization") == nil)
    }

    @Test(arguments: ["host:1", "ftp://host", "http://host/?a=b", "http://u:p@host"])
    func aWrongServerURLIsRefused(url: String) {
        let error = #expect(throws: BackendError.self) { try BackendClient(serverURL: url, http: http) }
        #expect(error?.code == "http.invalid_url")
    }

    private struct FixedToken: CredentialProvider {
        let token: String

        func authorization() async throws -> Authorization? { Authorization(bearer: token) }
        func replacement(for rejected: Authorization) async throws -> Authorization? { nil }
    }

    private struct UnexpectedOutcome: Error { let outcome: DeliveryOutcome }

    /// Where a server may repeat the token that it was sent.
    enum Echo: String, Sendable, CaseIterable {
        case debugPage, longPage, html, contentType, jsonString, redirect, receipt
    }

    @Test(arguments: Echo.allCases) func aTokenThatTheServerRepeatsIsInNoError(_ echo: Echo) async throws {
        let token = "tok/en+123~456=="
        server.routeTheRest { request in
            let sent = request.header("Authorization") ?? ""
            func page(_ status: Int, _ type: String, _ text: String) -> ScriptedServer.Answer {
                .response(status: status, headers: ["Content-Type": type], body: Data(text.utf8))
            }
            switch echo {
            case .debugPage: return page(500, "text/plain", "Authorization: \(sent)")
            // Cut in the middle of the token where it is cut first.
            case .longPage: return page(500, "text/plain", "\n" + String(repeating: " ", count: 985) + sent + sent)
            case .html:
                let escaped = sent.replacing("/", with: "&#x2F;").replacing("=", with: "&#61;")
                return page(200, "text/html", "<p>\(escaped) and tok%2Fen%2B123~456%3d%3D")
            case .contentType: return page(200, "text/x-\(sent)", "hello")
            case .jsonString: return page(503, "application/json", #"{"sent": "tok\/en\u002B123~456=="}"#)
            case .redirect: return .redirect(302, to: "/login?token=\(token)")
            case .receipt: return page(200, "text/html", "<p>\(sent)")
            }
        }
        let client = try backend(credentials: FixedToken(token: token))
        let error: BackendError
        if echo == .receipt {
            switch await client.deliver(Data("{}".utf8), taskID: "t", idempotencyKey: nil) {
            case .retry(_, let reason): error = reason
            case let other: throw UnexpectedOutcome(outcome: other)
            }
        } else {
            error = try #require(await #expect(throws: BackendError.self) { try await client.agent() })
        }
        #expect(!error.message.contains("123") && !error.message.contains("tok/"), "\(error.message)")
        #expect(error.message.contains("(hidden)"), "\(error.message)")
    }

    @Test func pollsAreCheapWithAnEntityTag() async throws {
        server.route("/api/agent/tasks") { request in
            request.header("If-None-Match") == "\"v1\""
                ? .response(status: 304, headers: ["ETag": "\"v1\""], body: Data())
                : .json(#"{"data": [{"id": "t", "command": "c"}, {"id": 1}]}"#, headers: ["ETag": "\"v1\""])
        }
        let backend = try backend()
        let poll = try await backend.tasks()
        let (list, etag) = (try #require(poll.list), poll.etag)
        #expect(list.tasks.map(\.id) == ["t"])
        #expect(list.unreadable.map(\.error.code) == ["backend.invalid_document"])
        #expect(etag == "\"v1\"")
        #expect(try await backend.tasks(ifNoneMatch: etag).list == nil)
    }

    @Test func a304ThatNobodyAskedForIsAnError() async throws {
        server.route("/api/agent", .response(status: 304, headers: [:], body: Data()))
        let error = await #expect(throws: BackendError.self) { try await backend().agent() }
        #expect(error?.code == "backend.status")
    }

    struct BadAnswer: Sendable, CustomTestStringConvertible {
        var name: String
        var answer: ScriptedServer.Answer
        var code: String
        var says: String = ""
        var testDescription: String { name }
    }

    private static func html(_ status: Int) -> ScriptedServer.Answer {
        .response(
            status: status, headers: ["Content-Type": "text/html; charset=utf-8"],
            body: Data("<html>\u{1B}[31mPlease log in</html>".utf8))
    }

    @Test(arguments: [
        BadAnswer(
            name: "500", answer: .json("{\"message\": \"oops\"}", status: 500), code: "backend.status", says: "oops"),
        BadAnswer(name: "500 HTML", answer: html(500), code: "backend.status", says: "\\u{1b}[31mPlease"),
        BadAnswer(name: "204", answer: .json("", status: 204), code: "backend.status", says: "204"),
        BadAnswer(name: "HTML", answer: html(200), code: "backend.not_json", says: "server_url is wrong"),
        BadAnswer(
            name: "HTML said to be JSON", answer: .json("<!DOCTYPE html>"), code: "backend.not_json", says: "DOCTYPE"),
        BadAnswer(name: "empty", answer: .json(""), code: "backend.invalid_json", says: "empty"),
        BadAnswer(
            name: "truncated", answer: .json(#"{"data": {"id": "a", "na"#), code: "backend.invalid_json", says: "24"),
        BadAnswer(
            name: "no UTF-8",
            answer: .response(
                status: 200, headers: [:], body: Data([0x7B, 0x22, 0xFF, 0x22, 0x7D])), code: "backend.invalid_json"),
        BadAnswer(
            name: "deep", answer: .json(String(repeating: "[", count: 100_000)), code: "backend.invalid_json"),
        BadAnswer(name: "no data", answer: .json(#"{"message": "hi"}"#), code: "backend.missing_data"),
        BadAnswer(name: "null data", answer: .json(#"{"data": null}"#), code: "backend.missing_data"),
        BadAnswer(name: "bare list", answer: .json("[]"), code: "backend.missing_data"),
        BadAnswer(
            name: "wrong field", answer: .json(#"{"data": {"id": 5}}"#), code: "backend.invalid_document",
            says: "data.id"),
        BadAnswer(
            name: "missing field", answer: .json(#"{"data": {"name": "x"}}"#), code: "backend.invalid_document",
            says: "data.id"),
        BadAnswer(name: "401", answer: .json("{}", status: 401), code: "backend.unauthorized", says: "401"),
        BadAnswer(name: "403", answer: .json("{}", status: 403), code: "backend.unauthorized", says: "403"),
        BadAnswer(name: "closed", answer: .close, code: "http.connection_lost"),
        BadAnswer(name: "cut", answer: .truncated(body: Data("{".utf8), announced: 9), code: "http.connection_lost"),
    ])
    func aBadAnswerIsAnErrorWithACode(bad: BadAnswer) async throws {
        server.route("/api/agent", bad.answer)
        let error = await #expect(throws: BackendError.self) { try await backend().agent() }
        #expect(error?.code == bad.code, "\(String(describing: error))")
        #expect(bad.says.isEmpty || error?.message.contains(bad.says) == true, "\(String(describing: error))")
        #expect(error?.message.unicodeScalars.contains("\u{1B}") == false)
    }

    @Test func jsonUnderAnotherTypeIsTaken() async throws {
        server.route("/api/agent", .json(Self.agent, headers: ["Content-Type": "text/html"]))
        _ = try await backend().agent()
    }

    @Test func retryAfterIsKept() async throws {
        server.route("/api/agent", .json("{}", status: 503, headers: ["Retry-After": "17"]))
        let error = await #expect(throws: BackendError.self) { try await backend().agent() }
        guard case .status(_, 503, _, .seconds(17)) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    // MARK: Plugins and tasks

    @Test func aScriptComesToTheByte() async throws {
        let script = "class Plugin:\r\n\tx = 'é\u{301}\u{0}\u{FEFF}'\r\n  # no newline at the end"
        server.route("/api/agent/plugin/p1", try plugin(script: script))
        let document = try await backend().plugin(PluginID("p1"))
        #expect(Array(document.script.utf8) == Array(script.utf8))
    }

    @Test func anotherPluginThanAskedForIsRefused() async throws {
        server.route("/api/agent/plugin/p1", try plugin(id: "p2"))
        let error = await #expect(throws: BackendError.self) { try await backend().plugin(PluginID("p1")) }
        #expect(error?.code == "plugin.id_mismatch")
        #expect(error?.message.contains("\"p1\"") == true)
        #expect(error?.message.contains("\"p2\"") == true)
    }

    @Test func theScriptLimitHolds() async throws {
        var limits = BackendClient.Limits()
        limits.script = 10
        server.route("/api/agent/plugin/p1", try plugin(script: "1234567890"), try plugin(script: "12345678901"))
        let backend = try backend(limits: limits)
        _ = try await backend.plugin(PluginID("p1"))
        let error = await #expect(throws: BackendError.self) { try await backend.plugin(PluginID("p1")) }
        #expect(error?.code == "plugin.script_too_large")
    }

    @Test func theTaskLimitHolds() async throws {
        func list(_ count: Int) -> ScriptedServer.Answer {
            let task = #"{"id": "[,]{,}\",", "command": "c", "arguments": {"a": [1, 2, 3, 4]}}"#
            return .json(#"{"data": ["# + Array(repeating: task, count: count).joined(separator: ",") + "]}")
        }
        var limits = BackendClient.Limits()
        limits.tasks = 3
        server.route("/api/agent/tasks", list(3), list(4))
        let backend = try backend(limits: limits)
        _ = try await backend.tasks()
        let error = await #expect(throws: BackendError.self) { try await backend.tasks() }
        #expect(error?.code == "backend.too_many_tasks")
    }

    @Test func theResponseLimitHolds() async throws {
        var limits = BackendClient.Limits()
        limits.response = 20
        server.route("/api/agent", .json(Self.agent))
        let error = await #expect(throws: BackendError.self) { try await backend(limits: limits).agent() }
        #expect(error?.code == "http.response_too_large")
    }

    // MARK: Credentials

    /// Gives one token, and another when it is refused.
    private final class TwoTokens: CredentialProvider {
        let replaced = Mutex(0)

        func authorization() async throws -> Authorization? { Authorization(bearer: "first") }

        func replacement(for rejected: Authorization) async throws -> Authorization? {
            replaced.withLock { $0 += 1 }
            return Authorization(bearer: "second")
        }
    }

    @Test func aRefusedTokenIsReplacedOnce() async throws {
        server.route("/api/agent") { request in
            request.header("Authorization") == "Bearer second" ? .json(Self.agent) : .json("{}", status: 401)
        }
        _ = try await backend(credentials: TwoTokens()).agent()
        #expect(server.requests.map { $0.header("Authorization") } == ["Bearer first", "Bearer second"])
        server.route("/api/agent", .json("{}", status: 401))
        let tokens = TwoTokens()
        let error = await #expect(throws: BackendError.self) { try await backend(credentials: tokens).agent() }
        #expect(error?.code == "backend.unauthorized")
        #expect(tokens.replaced.withLock { $0 } == 1)
        #expect(error?.message.contains("second") == false)
    }

    @Test func aRedirectAbroadGetsNoToken() async throws {
        let foreign = try ScriptedServer()
        foreign.route("/steal", .json(Self.agent))
        server.route("/api/agent", .redirect(308, to: foreign.url + "/steal"))
        _ = try await backend(credentials: TwoTokens()).agent()
        #expect(foreign.requests.count == 1)
        #expect(foreign.requests.first?.header("Authorization") == nil)
    }

    // MARK: The api object

    @Test func anythingCanBeCalled() async throws {
        server.route("/api/agent/x") {
            .json(#"{"got": "# + String(decoding: $0.body, as: UTF8.self) + "}", status: 418)
        }
        server.route("/graphql", .json("{}"))
        let backend = try backend()
        let response = try await backend.call(.put, .api("/agent/x?q=a b"), jsonBody: Data("[1]".utf8))
        #expect(response.status == 418)
        #expect(response.body == Data(#"{"got": [1]}"#.utf8))
        let blocking = await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(returning: Result { try backend.callAndWait(.post, .root("graphql")) })
            }
        }
        #expect(try blocking.get().status == 200)
        #expect(server.requests.map(\.target) == ["/api/agent/x?q=a+b", "/graphql"])
        #expect(server.requests.first?.header("Content-Type") == "application/json")
    }

    @Test(arguments: [
        "../../other", "..", "../x", "a/../../x", "%2e%2e/x", "a/.%2E/../x", "..%2f..%2fx", "a/..%2f..%2fx", "..\\x",
        "..%5cx", "%252e%252e/x", "..%252fx", "..;/x", "a/..;b=c/..;/x", "a#b", "a%00b", "a%0ab", "a\nb", "/../x",
        "//../x", "./../x",
    ])
    func noPathLeavesTheAPI(path: String) async throws {
        let error = await #expect(throws: BackendError.self) {
            try await backend("/base").call(.get, .api(path), jsonBody: nil)
        }
        #expect(error?.code == "api.invalid_path", "\(String(describing: error))")
        #expect(server.requests.isEmpty)
    }

    @Test(arguments: [
        ("agent/./tasks", "/api/agent/tasks"), ("agent/x/../tasks?a=../..", "/api/agent/tasks?a=../.."),
        ("//agent", "/api/agent"), ("", "/api/"), ("a//b/", "/api/a//b/"), ("a/b/..", "/api/a/"),
        ("agent/task/..%2Fx", "/api/agent/task/..%2Fx"), ("..a/b..", "/api/..a/b.."), ("a;b/c", "/api/a;b/c"),
        ("@evil.invalid/x", "/api/@evil.invalid/x"),
    ])
    func aPathBelowTheAPIIsSent(path: String, target: String) async throws {
        server.routeTheRest { _ in .json("{}") }
        #expect(try await backend().call(.get, .api(path), jsonBody: nil).status == 200)
        #expect(server.requests.map(\.target) == [target])
    }

    // MARK: Limits of what is read

    @Test func thePluginLimitHolds() async throws {
        func agent(_ count: Int) -> ScriptedServer.Answer {
            let ids = Array(repeating: #""p""#, count: count).joined(separator: ",")
            return .json(#"{"data": {"id": "a", "name": null, "team_id": null, "plugins": [\#(ids)]}}"#)
        }
        var limits = BackendClient.Limits()
        limits.plugins = 3
        server.route("/api/agent", agent(3), agent(4))
        let backend = try backend(limits: limits)
        _ = try await backend.agent()
        let error = await #expect(throws: BackendError.self) { try await backend.agent() }
        #expect(error?.code == "backend.too_many_plugins")
    }

    /// What part 2 has beside the list is read as far as it can be, and stands in no task's way.
    @Test(arguments: [
        (#"{"data": [{"id": "b", "command": "c"}], "watch": ["x", 5], "cancel": [{"task_id": "b"}, 7]}"#, ["x"], 1),
        (#"{"data": [{"id": "b", "command": "c"}], "watch": 5, "cancel": "no"}"#, [], 0),
        // A backend of part 1 may mean something else by that word.
        (#"{"data": [{"id": "b", "command": "c"}], "unchanged": true}"#, [], 0),
    ])
    func whatIsWantedOfRunsIsReadBesideTheList(_ body: String, _ watch: [String], _ cancels: Int) async throws {
        server.route("/api/agent/tasks", .json(body))
        let poll = try await backend().tasks(ifNoneMatch: "\"old\"")
        #expect(poll.list?.tasks.map(\.id) == ["b"])
        #expect(poll.requests?.watch == Set(watch) && poll.requests?.cancel.count == cancels)
    }

    @Test func anUnchangedListNeedsAnEarlierOne() async throws {
        server.route("/api/agent/tasks", .json(#"{"unchanged": true, "cancel": [{"run_id": "r", "by": "ada"}]}"#))
        let poll = try await backend().tasks(ifNoneMatch: "\"old\"")
        #expect(poll.list == nil && poll.requests?.cancel == [RunRequests.Cancel(.run("r"), by: "ada")])
        let error = await #expect(throws: BackendError.self) { try await backend().tasks() }
        #expect(error?.code == "backend.missing_data", "\(String(describing: error))")
    }

    @Test func oneTaskThatIsNoTextLeavesTheOthers() async throws {
        server.route(
            "/api/agent/tasks",
            .json(#"{"data": [{"id": "\ud800", "command": "c"}, {"id": "b", "command": "c"}], "more": [[[1]]]}"#))
        let list = try #require(try await backend().tasks().list)
        #expect(list.tasks.map(\.id) == ["b"])
        #expect(list.unreadable.count == 1)
    }

    @Test func brokenJSONIsNamedWithItsPlace() async throws {
        server.route("/api/agent", .json(#"{"data": {"id": "a", "plugins": ["x" "y"]}}"#))
        let error = await #expect(throws: BackendError.self) { try await backend().agent() }
        #expect(error?.code == "backend.invalid_json")
        #expect(error?.message.contains(#"at byte 37, in "data.plugins""#) == true, "\(error?.message ?? "")")
    }

    /// What a gateway in front of a backend answers is no reason to renew a token.
    @Test func aGatewayThatWantsAPasswordIsNotTheBackend() async throws {
        server.route("/api/agent", .json("{}", status: 401, headers: ["WWW-Authenticate": "Basic realm=\"x\""]))
        let tokens = TwoTokens()
        let error = await #expect(throws: BackendError.self) { try await backend(credentials: tokens).agent() }
        #expect(error?.code == "http.proxy_unauthorized")
        #expect(tokens.replaced.withLock { $0 } == 0)
    }

    @Test(arguments: ["@evil.invalid/", "//evil.invalid/x", "\\\\evil.invalid"])
    func noPathLeadsToAnotherHost(path: String) async throws {
        _ = try? await backend().call(.get, .root(path))
        #expect(server.requests.count <= 1)
        #expect(server.requests.allSatisfy { $0.header("Host") == "127.0.0.1:\(server.port)" })
    }
}
