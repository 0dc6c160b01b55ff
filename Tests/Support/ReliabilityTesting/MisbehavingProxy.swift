import AgentTestSupport
import BackendClient
import Foundation

/// Stands between the agent and the backend and spoils what the script says.
final class MisbehavingProxy: Sendable {
    private let server: ScriptedServer
    private let client: HTTPClient

    init(backend: String, script: FaultScript) throws {
        server = try ScriptedServer()
        var configuration = HTTPClient.Configuration(proxies: ProxySettings())
        configuration.concurrency = 64
        client = try HTTPClient(configuration)
        server.routeTheRest(keepsRequests: false) { [client] request in
            Self.answer(request, script.next(), backend: backend, client: client)
        }
    }

    var url: String { server.url }

    func stop() async {
        server.stop()
        await client.shutdown()
    }

    private static func answer(
        _ request: ScriptedServer.Request, _ step: FaultScript.Step, backend: String, client: HTTPClient
    ) -> ScriptedServer.Answer {
        switch step.fault {
        case .none: return forward(request, to: backend, client)
        case .delay:
            pause(step)
            return forward(request, to: backend, client)
        case .slowBody:
            let real = forward(request, to: backend, client)
            // At most some seconds for all of it, and only what a drip can say.
            guard case .response(200, _, let body) = real, body.count < 4096 else { return real }
            return .drip(body: body, interval: .milliseconds(1))
        default: break
        }
        // The backend has it, and the agent is not told: what idempotent delivery is for.
        let real = step.reachesBackend ? forward(request, to: backend, client) : .json(#"{"data": []}"#)
        guard case .response(_, _, let body) = real else { return real }
        switch step.fault {
        case .none, .delay, .slowBody: return real
        case .status500: return .json(#"{"message": "broken"}"#, status: 500)
        case .tooManyRequests: return .json("{}", status: 429, headers: ["Retry-After": "1"])
        case .resetInBody:
            return .reset(body: body.prefix(body.count / 2), announced: body.count + 100)
        case .wrongJSON: return .json(#"{"data": {"id": "a", "na"#)
        case .proxyPage:
            return .response(
                status: 200, headers: ["Content-Type": "text/html"],
                body: Data("<!DOCTYPE html><html><body>Please sign in to the network</body></html>".utf8))
        case .closed: return .close
        case .silence: return .silence
        }
    }

    private static func forward(
        _ request: ScriptedServer.Request, to backend: String, _ client: HTTPClient
    ) -> ScriptedServer.Answer {
        let kept = ["accept", "content-type", "idempotency-key", "if-none-match", "prefer"]
        let headers = request.headers.filter { kept.contains($0.name.lowercased()) }
            .map { HTTPHeader(name: $0.name, value: $0.value) }
        guard let method = HTTPMethod(name: request.method),
            let url = try? HTTPURL(backend + request.target),
            let response = try? client.sendAndWait(
                HTTPRequest(
                    method: method, url: url, headers: headers, body: request.body.isEmpty ? nil : request.body,
                    timeLimit: .seconds(30)))
        else { return .close }
        let framing = ["content-length", "transfer-encoding", "connection", "content-encoding", "date"]
        let passed = response.headers.filter { !framing.contains($0.name.lowercased()) }
        return .response(
            status: response.status,
            headers: Dictionary(passed.map { ($0.name, $0.value) }) { first, _ in first }, body: response.body)
    }

    private static func pause(_ step: FaultScript.Step) {
        // On the connection's own thread.
        Thread.sleep(forTimeInterval: Double(step.delay) / 1000)
    }
}
