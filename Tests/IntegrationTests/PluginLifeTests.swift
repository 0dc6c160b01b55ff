import Agent
import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// How a plugin comes, changes and goes while the agent runs.
@Suite struct PluginLifeTests {
    private static func script(answering text: String, goodbye file: String) -> String {
        """
        class Plugin:
            def __init__(self): self.calls = 0
            def answer(self):
                self.calls += 1
                return f"\(text) {self.calls}"
            def shutdown(self):
                with open(\(JSONValue.string(file).text), "a") as log: log.write("\(text) is gone\\n")
        """
    }

    private static func task(_ id: String) -> String {
        #"{"id": "\#(id)", "command": "p.answer", "cron": null, "arguments": "{}"}"#
    }

    /// Synchronizes and waits until everything that came of it has been delivered.
    private func synchronize(_ agent: TestAgent) async {
        await agent.runtime.synchronizer.synchronize()
        await agent.runtime.dispatcher.idle()
        await agent.runtime.reporter.deliverDue()
    }

    /// Starts an agent, whose dispatcher runs while `body` does, and closes it.
    private func withAgent(
        _ backend: ScriptedBackend, _ folder: TemporaryFolder, settings: [String: String] = [:],
        _ body: (TestAgent) async -> Void
    ) async throws {
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder, settings: settings)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await agent.runtime.dispatcher.run() }
            await body(agent)
            group.cancelAll()
        }
        await agent.runtime.close()
    }

    @Test func aChangedScriptReplacesTheInstanceAndAPluginNoLongerListedIsShutDown() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let log = folder.path("goodbyes")
        try await withAgent(backend, folder, settings: ["force_redownload": "yes"]) { agent in
            backend.addPlugin("p", script: Self.script(answering: "old", goodbye: log), functions: ["answer"])
            backend.addTask(Self.task("first"))
            await synchronize(agent)
            backend.addTask(Self.task("second"))
            await synchronize(agent)

            backend.addPlugin("p", script: Self.script(answering: "new", goodbye: log), functions: ["answer"])
            backend.addTask(Self.task("third"))
            await synchronize(agent)

            backend.server.route(
                "/api/agent",
                .json(#"{"data": {"id": "a", "name": "A", "team_id": "t", "plugins": ["good-plugin"]}}"#))
            backend.addTask(Self.task("fourth"))
            await synchronize(agent)
        }

        #expect(try backend.results(of: "first").map(\.data) == ["old 1"])
        #expect(try backend.results(of: "second").map(\.data) == ["old 2"], "an unchanged script keeps its state")
        #expect(try backend.results(of: "third").map(\.data) == ["new 1"])
        #expect(try backend.results(of: "fourth").map(\.error?.code) == ["task.unknown_command"])
        #expect(try String(contentsOfFile: log, encoding: .utf8) == "old is gone\nnew is gone\n")
        #expect(!FileManager.default.fileExists(atPath: folder.path("plugins/p.py")))
        #expect(!FileManager.default.fileExists(atPath: folder.path("plugins/p.json")))
    }

    /// What the backend doesn't publish any more isn't run, also where nothing took its place.
    @Test func aNewVersionThatCanNotBeLoadedTakesTheOldOneAlong() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let log = folder.path("goodbyes")
        try await withAgent(backend, folder, settings: ["force_redownload": "yes"]) { agent in
            backend.addPlugin("p", script: Self.script(answering: "old", goodbye: log), functions: ["answer"])
            backend.addTask(Self.task("first"))
            await synchronize(agent)
            backend.addPlugin("p", script: "raise OSError('broken')\n", functions: ["answer"])
            backend.addTask(Self.task("second"))
            await synchronize(agent)
            // The document can't be had: what is there goes on.
            backend.addPlugin("p", script: Self.script(answering: "new", goodbye: log), functions: ["answer"])
            await synchronize(agent)
            backend.server.route("/api/agent/plugin/p", .json("{}", status: 503))
            backend.addTask(Self.task("third"))
            await synchronize(agent)
        }
        #expect(try backend.results(of: "first").map(\.data) == ["old 1"])
        #expect(try backend.results(of: "second").map(\.error?.code) == ["plugin.script_failed"])
        #expect(try backend.results(of: "third").map(\.data) == ["new 1"])
        #expect(try String(contentsOfFile: log, encoding: .utf8).hasPrefix("old is gone\n"))
    }

    @Test func aFileChangedUnderTheRunningAgentIsNotRunAndFetchedAgain() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        try await withAgent(backend, folder) { agent in
            backend.addPlugin("p", script: BadInputTests.answer, functions: ["answer"])
            await synchronize(agent)
            try? "class Plugin:\n    def answer(self): return 'evil'\n".write(
                toFile: folder.path("plugins/p.py"), atomically: false, encoding: .utf8)
            backend.addTask(Self.task("during"))
            await synchronize(agent)
            await synchronize(agent)
            backend.addTask(Self.task("after"))
            await synchronize(agent)
            #expect(agent.loggedCodes.contains("plugin.file_changed"))
        }
        #expect(try backend.results(of: "during").map(\.data) == ["42"], "after the file was fetched again")
        #expect(try backend.results(of: "after").map(\.data) == ["42"])
    }

    @Test func theAPIObjectSpeaksForTheAgent() async throws {
        let backend = try ScriptedBackend()
        backend.server.route("/api/custom", .json(#"{"data": "made"}"#, status: 201))
        backend.server.route("/graphql", .json(#"{"data": {"core": 1}}"#))
        backend.server.route("/api/broken", .json(#"{"message": "no"}"#, status: 422))
        let folder = try TemporaryFolder()
        try """
        from runbooksolutions.agent.API import API, APIError
        class Plugin:
            def __init__(self, api: API) -> None:
                self.api = api
            def use(self):
                details = self.api.getAgentDetails()
                made = self.api.sendRequest("/custom", "post", {"a": [1, None, "é"]})
                graph = self.api.graphQL("query { core }", {"id": 7})
                try:
                    self.api.sendRequest("/broken", "GET")
                except APIError as error:
                    broken = [error.status, error.body]
                return [details.id, details["plugins"], len(self.api.getAgentTasks().getTasks()), made, graph, broken]
        """.write(toFile: folder.path("p.py"), atomically: true, encoding: .utf8)
        let output = try await AgentProcess.run([
            "plugin", "call", folder.path("p.py"), "use", "--set", "server_url=\(backend.server.url)", "--set",
            "auth=no",
        ])
        #expect(
            output.stdout == #"""
                ["a", ["good-plugin"], 1, {"data": "made"}, {"data": {"core": 1}}, [422, "{\"message\": \"no\"}"]]

                """#, "\(output.stderr)")
        let posted = backend.server.requests.filter { $0.method == "POST" }
        #expect(
            posted.map { String(decoding: $0.body, as: UTF8.self) } == [
                #"{"a": [1, null, "\u00e9"]}"#, #"{"query": "query { core }", "variables": {"id": 7}}"#,
            ])
    }
}
