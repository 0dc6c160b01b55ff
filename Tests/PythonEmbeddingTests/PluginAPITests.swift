import AgentModel
import PythonEmbedding
import Testing
import Threads

/// Records what plugins ask and answers by path.
final class RecordingHost: PluginHost {
    struct Request: Sendable, Equatable {
        var plugin = "plugin"
        let method: String
        let path: String
        let body: String?
    }

    let requests = BlockingLock<[Request]>([])
    /// A request for `/api/wait` is answered when something is pushed here.
    let gate = BlockingQueue<Void>()
    let arrivals = BlockingQueue<Void>()

    func request(plugin: String, method: String, path: String, body: String?) -> PluginHostResponse {
        requests.withLock { $0.append(Request(plugin: plugin, method: method, path: path, body: body)) }
        switch path {
        case "/api/wait":
            arrivals.push(())
            gate.pop()
            return .answered(status: 200, body: Array(#"{"data": "late"}"#.utf8))
        case "/api/agent":
            return .answered(status: 200, body: Array(#"{"data": {"id": "7", "plugins": null}}"#.utf8))
        case "/api/agent/tasks":
            return .answered(status: 200, body: Array(#"{"data": [{"id": "t1", "command": "c"}]}"#.utf8))
        case "/api/missing": return .answered(status: 404, body: Array(#"{"error": "no"}"#.utf8))
        case "/api/empty": return .answered(status: 204, body: [])
        case "/api/html": return .answered(status: 200, body: Array("<html>".utf8))
        case "/api/latin": return .answered(status: 200, body: [0x22, 0xFF, 0x22])
        case "/api/down": return .failed(code: "backend.unreachable", message: "nobody there")
        default: return .answered(status: 201, body: Array(#"{"data": "ok"}"#.utf8))
        }
    }
}

/// In processes of their own: the host of the interpreter is shared by all that runs in one.
@Suite struct PluginAPITests {
    private static let script = """
        from runbooksolutions.agent.API import API, APIError
        from runbooksolutions.agent.Task import Task
        class Plugin:
            def __init__(self, api):
                assert isinstance(api, API)
                self.api = api
            def run(self, code):
                try:
                    return eval(code, {"api": self.api, "Task": Task})
                except APIError as error:
                    return ["APIError", error.status, error.body, error.code]
            def beside(self): return "meanwhile"
        """

    struct RequestCase: Sendable {
        let code: String
        let result: String?
        let requests: [RecordingHost.Request]
    }

    private static let cases: [RequestCase] = [
        RequestCase(
            code: "api.sendRequest('/x', 'post', {'a': [1, None]})", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/x", body: #"{"a": [1, null]}"#)]),
        RequestCase(
            code: "api.sendRequest('x', 'GET')", result: #"{"data": "ok"}"#,
            requests: [.init(method: "GET", path: "/api/x", body: nil)]),
        RequestCase(
            code: "api.graphQL('{ me }')", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/graphql", body: #"{"query": "{ me }", "variables": {}}"#)]),
        RequestCase(
            code: "[api.getAgentDetails().id, api.getAgentDetails()['plugins']]", result: #"["7", []]"#,
            requests: [
                .init(method: "GET", path: "/api/agent", body: nil),
                .init(method: "GET", path: "/api/agent", body: nil),
            ]),
        RequestCase(
            code: "[task.command for task in api.getAgentTasks().getTasks()]", result: #"["c"]"#,
            requests: [.init(method: "GET", path: "/api/agent/tasks", body: nil)]),
        RequestCase(
            code: "api.sendTaskResult(Task(id='a/ü'), 'r')", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/a%2F%C3%BC", body: #"{"data": "r"}"#)]),
        RequestCase(
            code: "api.sendTaskResult('t', {'b': [1.0, None, 'é']})", result: #"{"data": "ok"}"#,
            requests: [
                .init(
                    method: "POST", path: "/api/agent/task/t", body: #"{"data": "{\"b\": [1.0, null, \"\\u00e9\"]}"}"#)
            ]),
        RequestCase(
            code: "api.sendTaskResult('t', 5)", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/t", body: #"{"data": "5"}"#)]),
        RequestCase(
            code: "api.sendTaskResult('t', True)", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/t", body: #"{"data": "true"}"#)]),
        RequestCase(
            code: "api.sendTaskResult('t', None)", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/t", body: #"{"data": null}"#)]),
        RequestCase(
            code: "api.sendTaskResult('t', 'é')", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/t", body: #"{"data": "\u00e9"}"#)]),
        RequestCase(
            code: "api.sendTaskResult('t', '')", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/t", body: #"{"data": ""}"#)]),
        RequestCase(
            code: "api.sendTaskResult('t', {2, 1})", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/t", body: #"{"data": "[1, 2]"}"#)]),
        RequestCase(
            code: "api.sendTaskResult('t', b'x')", result: #"{"data": "ok"}"#,
            requests: [.init(method: "POST", path: "/api/agent/task/t", body: #"{"data": "\"x\""}"#)]),
        RequestCase(
            code: "api.sendRequest('/missing', 'GET')", result: #"["APIError", 404, "{\"error\": \"no\"}", null]"#,
            requests: [.init(method: "GET", path: "/api/missing", body: nil)]),
        RequestCase(
            code: "api.sendRequest('/down', 'GET')", result: #"["APIError", null, null, "backend.unreachable"]"#,
            requests: [.init(method: "GET", path: "/api/down", body: nil)]),
        RequestCase(
            code: "api.sendRequest('/html', 'GET')", result: #"["APIError", 200, "<html>", null]"#,
            requests: [.init(method: "GET", path: "/api/html", body: nil)]),
        RequestCase(
            code: "api.sendRequest('/empty', 'DELETE')", result: nil,
            requests: [.init(method: "DELETE", path: "/api/empty", body: nil)]),
        RequestCase(
            code: "api.sendRequest('/latin', 'GET')", result: "\u{FFFD}",
            requests: [.init(method: "GET", path: "/api/latin", body: nil)]),
    ]

    @Test func requests() async {
        await #expect(processExitsWith: .success) {
            let host = RecordingHost()
            let thread = try PluginThread(host)
            let plugin = try await thread.load(Self.script).get().plugin
            for testCase in Self.cases {
                host.requests.withLock { $0 = [] }
                let result = await thread.call("run", of: plugin, arguments: "{\"code\": \"\(testCase.code)\"}")
                #expect(try result.text == testCase.result, "\(testCase.code)")
                #expect(host.requests.withLock { $0 } == testCase.requests, "\(testCase.code)")
            }
            let refused = await thread.call("run", of: plugin, arguments: #"{"code": "api.sendRequest('/', 'TRACE')"}"#)
            #expect(refused.exception?.type == "ValueError")
        }
    }

    @Test func otherCallsRunWhileARequestWaits() async {
        await #expect(processExitsWith: .success) {
            let host = RecordingHost()
            let first = try PluginThread(host)
            let second = try PluginThread()
            let plugin = try await first.load(Self.script).get().plugin
            async let waiting = first.call(
                "run", of: plugin, arguments: #"{"code": "api.sendRequest('/wait', 'GET')"}"#)
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                do {
                    try PythonInterpreter.startPlainThread(name: "arrival") {
                        host.arrivals.pop()
                        continuation.resume()
                    }
                } catch {
                    continuation.resume(throwing: error)
                }
            }
            #expect(try await second.call("beside", of: plugin).text == "meanwhile")
            host.gate.push(())
            #expect(try await waiting.text == #"{"data": "late"}"#)
        }
    }

    @Test func withoutABackend() async {
        await #expect(processExitsWith: .success) {
            let thread = try PluginThread()
            let plugin = try await thread.load(Self.script).get().plugin
            let result = await thread.call("run", of: plugin, arguments: #"{"code": "api.getAgentDetails()"}"#)
            #expect(try result.text == #"["APIError", null, null, "api.no_backend"]"#)
        }
    }
}
