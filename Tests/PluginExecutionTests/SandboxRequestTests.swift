import AgentModel
import PluginExecution
import PythonEmbedding
import Sandbox
import Testing
import Threads

/// The `api` object of a sandboxed plugin: what of it reaches the backend.
@Suite struct SandboxRequestTests {
    /// Answers every request, and remembers it.
    private final class RecordingHost: PluginHost {
        private let requests = BlockingLock<[String]>([])
        /// Requests wait for it, where there is one.
        let gate: BlockingQueue<Void>?

        init(gate: BlockingQueue<Void>? = nil) { self.gate = gate }

        var recorded: [String] { requests.withLock { $0 } }

        func isTask(_ task: String, of plugin: String) -> Bool { task != "of another" }

        func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse {
            requests.withLock { $0.append("\(plugin) \(method) \(path) \(body ?? "-")") }
            gate?.pop()
            return .answered(status: 200, body: Array(#"{"data": "answered"}"#.utf8))
        }
    }

    private static let script = """
        import os, struct
        from runbooksolutions.agent.API import APIError
        class Plugin:
            def __init__(self, api): self.api = api
            def result(self, task): return self.guard(lambda: self.api.sendTaskResult(task, "done"))
            def read(self): return self.guard(lambda: self.api.sendRequest("/agent/tasks", "GET"))
            def raw(self, method, path):
                # As its process asks the agent, whatever the api object would have made of it.
                def text(value):
                    value = value.encode()
                    return struct.pack("=Q", len(value)) + value
                body = text(method) + text(path) + struct.pack("=Q", 0)
                os.write(4, struct.pack("=II", len(body), 40) + body)
                length, kind = struct.unpack("=II", os.read(7, 8))
                answer = os.read(7, length)
                return "answered" if struct.unpack("=Q", answer[:8])[0] == 0 else answer[16:16 + answer[8]].decode()
            def guard(self, request):
                try: return request()["data"]
                except APIError as error: return error.code
            def fast(self): return 1
        """

    @Test func whatEachAccessAllows() async throws {
        let expected: [APIAccess: [String]] = [
            .none: ["api.not_allowed", "api.not_allowed"], .results: ["answered", "api.not_allowed"],
            .full: ["answered", "answered"],
        ]
        for access in APIAccess.allCases {
            let host = RecordingHost()
            let fixture = try ExecutorFixture(.sandbox, requests: host, policy: { $0.api = access })
            try await fixture.load(Self.script)
            let answers = [
                await fixture.execute("result", #"{"task": "t-1"}"#).data, await fixture.execute("read").data,
            ]
            #expect(answers == expected[access])
            let both = [
                "\(fixture.id) POST /api/agent/task/t-1 {\"data\": \"done\"}", "\(fixture.id) GET /api/agent/tasks -",
            ]
            #expect(host.recorded == Array(both.prefix(answers.count { $0 == "answered" })))
            await fixture.executor.shutDown()
        }
    }

    @Test func accessToResultsIsToTasksOfItsOwn() async throws {
        let host = RecordingHost()
        let fixture = try ExecutorFixture(.sandbox, requests: host, policy: { $0.api = .results })
        try await fixture.load(Self.script)
        #expect(await fixture.execute("result", #"{"task": "its own"}"#).data == "answered")
        #expect(await fixture.execute("result", #"{"task": "of another"}"#).data == "api.not_allowed")
        #expect(host.recorded == ["\(fixture.id) POST /api/agent/task/its%20own {\"data\": \"done\"}"])
        await fixture.executor.shutDown()
    }

    @Test func accessToResultsIsToOneTaskAtATime() async throws {
        let host = RecordingHost()
        let fixture = try ExecutorFixture(.sandbox, requests: host, policy: { $0.api = .results })
        try await fixture.load(Self.script)
        let prefix = "/api/agent/task/"
        let refused =
            [
                "..", ".", "", "..%2f..", "..%2Ftasks", "%2e%2e", "a/b", "/a", "a?b=c", "a#b", "a%00", "a\\\\b",
                "a%5cb",
                "a b", "ä", "\u{212A}", "a%252fb",
            ].map { prefix + $0 } + [
                "//api/agent/task/a", "/api//agent/task/a", "/api/agent/tasks", "/api/agent/task", "/graphql",
                "/x/../api/agent/task/a", "@example.com/api/agent/task/a", "",
            ]
        for path in refused {
            let outcome = await fixture.execute("raw", "{\"method\": \"POST\", \"path\": \"\(path)\"}")
            #expect(outcome.data == "api.not_allowed", "\(path): \(outcome)")
        }
        for method in ["GET", "PUT", "post", "POST\\r\\nX: y"] {
            let outcome = await fixture.execute("raw", "{\"method\": \"\(method)\", \"path\": \"\(prefix)a\"}")
            #expect(outcome.data == "api.not_allowed", "\(method): \(outcome)")
        }
        #expect(host.recorded.isEmpty)
        #expect(
            await fixture.execute("raw", "{\"method\": \"POST\", \"path\": \"\(prefix)a-1._~%20\"}").data == "answered")
        #expect(host.recorded == ["\(fixture.id) POST \(prefix)a-1._~%20 -"])
        await fixture.executor.shutDown()
    }

    @Test func constructorMayAsk() async throws {
        let host = RecordingHost()
        let fixture = try ExecutorFixture(.sandbox, requests: host, policy: { $0.api = .full })
        try await fixture.load(
            "class Plugin:\n    def __init__(self, api): self.data = api.sendRequest('/x', 'GET')\n    def run(self): return self.data"
        )
        #expect(await fixture.execute("run").data == #"{"data": "answered"}"#)
        await fixture.executor.shutDown()
    }

    /// The time limit counts while a request is under way.
    @Test func requestThatTakesLongerThanTheCall() async throws {
        let gate = BlockingQueue<Void>()
        let host = RecordingHost(gate: gate)
        let fixture = try ExecutorFixture(
            .sandbox, injectGrace: .milliseconds(50), requests: host, policy: { $0.api = .full })
        try await fixture.load(Self.script)
        let outcome = await fixture.execute("read", timeLimit: .milliseconds(200))
        #expect(outcome.status == .timedOut)
        #expect(await fixture.execute("fast").data == "1")
        gate.push(())
        gate.push(())
        #expect(await fixture.execute("read").data == "answered")
        await fixture.executor.shutDown()
    }
}
