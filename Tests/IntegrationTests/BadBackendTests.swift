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
        Case(name: "no data", answer: .json(#"{"message": "hello"}"#), code: "backend.missing_data"),
        Case(name: "a wrong type", answer: .json(#"{"data": {"id": 7}}"#), code: "backend.invalid_document"),
        Case(
            name: "a redirect loop", answer: .redirect(308, to: "/api/agent"), code: "http.redirect_loop"),
        Case(name: "a connection that is closed", answer: .close, code: "http.connection_lost"),
    ]

    @Test(arguments: cases)
    func theAgentSaysSoAndGoesOnWhenItIsOver(_ example: Case) async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let good = #"{"data": {"id": "a", "name": "A", "team_id": "t", "plugins": ["good-plugin"]}}"#
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)

        backend.server.route("/api/agent", example.answer)
        var report = try await agent.runtime.runOnce()
        #expect(!report.isGood)
        #expect(agent.loggedCodes.contains(example.code), "logged were \(agent.loggedCodes.sorted())")
        #expect(try backend.results(of: "good").isEmpty)
        await agent.runtime.close()

        backend.server.route("/api/agent", .json(good))
        report = try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        #expect(report.isGood)
        #expect(try backend.results(of: "good").map(\.data) == ["hello"])
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
