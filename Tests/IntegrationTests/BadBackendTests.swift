import Agent
import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// What an agent does when the backend as a whole answers wrongly, and that it goes on when it answers again.
@Suite struct BadBackendTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let answer: ScriptedServer.Answer
        let code: String
        /// Whether a plugin whose document is answered so is wrong for good, and its tasks are rejected.
        var condemnsPlugin = false

        var testDescription: String { name }
    }

    static let cases = [
        Case(name: "500", answer: .json(#"{"message": "broken"}"#, status: 500), code: "backend.status"),
        Case(
            name: "HTML instead of JSON",
            answer: .response(
                status: 200, headers: ["Content-Type": "text/html"], body: Data("<html>Sign in</html>".utf8)),
            code: "backend.not_json"),
        Case(name: "truncated JSON", answer: .json(#"{"data": {"id": "a", "na"#), code: "backend.invalid_json"),
        Case(
            name: "no data", answer: .json(#"{"message": "hello"}"#), code: "backend.missing_data",
            condemnsPlugin: true),
        Case(
            name: "a wrong type", answer: .json(#"{"data": {"id": 7}}"#), code: "backend.invalid_document",
            condemnsPlugin: true),
        Case(
            name: "a redirect loop", answer: .redirect(308, to: "/api/agent"), code: "http.redirect_loop"),
        Case(name: "a connection that is closed", answer: .close, code: "http.connection_lost"),
    ]

    /// The token that goes with what a plugin asks for is for `/api` alone.
    @Test func aPluginReachesNothingOutsideOfTheAPI() async throws {
        let backend = try ScriptedBackend()
        let script = """
            class Plugin:
                def __init__(self, api):
                    self.api = api

                def call(self):
                    try:
                        return self.api.sendRequest("../../other", "GET")
                    except Exception as error:
                        return getattr(error, "code", None) or repr(error)
            """
        backend.addPlugin("caller", script: script, functions: ["call"])
        backend.addTask(#"{"id": "outside", "command": "caller.call", "cron": null, "arguments": "{}"}"#)
        try await TestAgent.once(serverURL: backend.server.url, folder: TemporaryFolder())
        #expect(try backend.results(of: "outside").map(\.data) == ["api.invalid_path"])
        #expect(!backend.server.requests.contains { $0.target.contains("other") })
    }

    /// What is asked, and it answered well.
    enum Question: String, Sendable, CaseIterable {
        case agent = "/api/agent"
        case plugin = "/api/agent/plugin/good-plugin"
        case tasks = "/api/agent/tasks"
    }

    @Test(arguments: cases, Question.allCases)
    func theAgentSaysSoAndGoesOnWhenItIsOver(_ example: Case, _ question: Question) async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)

        var answer = example.answer
        if example.name == "a redirect loop" { answer = .redirect(308, to: question.rawValue) }
        backend.server.route(question.rawValue, answer)
        var report = try await agent.runtime.runOnce()
        #expect(!report.isGood)
        #expect(agent.loggedCodes.contains(example.code), "logged were \(agent.loggedCodes.sorted())")
        let isRejected = question == .plugin && example.condemnsPlugin
        #expect(try backend.results(of: "good").map(\.error?.code) == (isRejected ? [example.code] : []))
        await agent.runtime.close()

        let other = try ScriptedBackend()
        report = try await TestAgent.once(serverURL: other.server.url, folder: folder).report
        #expect(report.isGood)
        #expect(try other.results(of: "good").map(\.data) == (isRejected ? [] : ["hello"]))
    }

    @Test func anUnreachableBackendIsNamed() async throws {
        let server = try ScriptedServer()
        let url = server.url
        server.stop()
        let (report, codes) = try await TestAgent.once(serverURL: url, folder: TemporaryFolder())
        #expect(!report.isGood)
        #expect(codes.contains("http.unreachable"), "logged were \(codes.sorted())")
    }

    @Test func aPluginThatCanNotBeFetchedNowKeepsItsTaskWaiting() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        backend.addPlugin("p", script: BadInputTests.answer, functions: ["answer"])
        backend.addTask(BadInputTests.callAnswer())
        backend.server.route("/api/agent/plugin/p", .json("{}", status: 503))
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        #expect(try backend.results(of: "good").count == 1)
        #expect(try backend.results(of: "bad").isEmpty)

        backend.addPlugin("p", script: BadInputTests.answer, functions: ["answer"])
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        #expect(try backend.results(of: "bad").map(\.data) == ["42"])
    }

    @Test func aTrailingSlashAndARedirectToOneAreFollowed() async throws {
        let backend = try ScriptedBackend()
        let good = #"{"data": {"id": "a", "name": null, "team_id": null, "plugins": ["good-plugin"], "more": 1}}"#
        backend.server.route("/api/agent", .redirect(308, to: "/api/agent/"))
        backend.server.route("/api/agent/", .json(good))
        let (report, codes) = try await TestAgent.once(
            serverURL: backend.server.url + "/", folder: TemporaryFolder())
        #expect(report.isGood)
        #expect(codes == ["agent.no_team"])
    }
}
