import AgentModel
import AgentTestSupport
import Diagnostics
import Foundation
import Testing
import Threads

@testable import BackendClient

@Suite struct DeliveryTests {
    let server: ScriptedServer
    let backend: BackendClient

    init() throws {
        server = try ScriptedServer()
        backend = try BackendClient(
            serverURL: server.url, http: HTTPClient(HTTPClient.Configuration(proxies: ProxySettings())))
    }

    private func deliver(_ id: String = "t1") async -> DeliveryOutcome {
        await backend.deliver(Data(#"{"data":"4"}"#.utf8), taskID: id, idempotencyKey: "run-1")
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var answer: ScriptedServer.Answer
        var outcome: String
        var testDescription: String { name }
    }

    private static func name(_ outcome: DeliveryOutcome) -> String {
        switch outcome {
        case .delivered: "delivered"
        case .retry(let after, let error): "retry \(after.map { "\($0.components.seconds)" } ?? "-") \(error.code)"
        case .unauthorized: "unauthorized"
        case .rejected: "rejected"
        case .tooLarge: "too large"
        }
    }

    @Test(arguments: [
        Case(name: "200", answer: .json("{}"), outcome: "delivered"),
        Case(name: "201 null", answer: .json("null", status: 201), outcome: "delivered"),
        Case(name: "201 empty", answer: .json("", status: 201), outcome: "delivered"),
        Case(name: "204", answer: .json("", status: 204), outcome: "delivered"),
        Case(name: "202", answer: .json("{}", status: 202), outcome: "retry - backend.status"),
        Case(name: "206", answer: .json("{}", status: 206), outcome: "retry - backend.status"),
        Case(name: "after a 308", answer: .redirect(308, to: "/moved"), outcome: "delivered"),
        Case(name: "after a 303", answer: .redirect(303, to: "/moved"), outcome: "retry - http.redirect_refused"),
        Case(name: "a proxy's page", answer: .json("<html>"), outcome: "retry - backend.not_json"),
        Case(name: "half a receipt", answer: .json("{\"data\""), outcome: "retry - backend.invalid_json"),
        Case(name: "400", answer: .json("{}", status: 400), outcome: "retry - backend.status"),
        Case(name: "401", answer: .json("{}", status: 401), outcome: "unauthorized"),
        Case(name: "403", answer: .json("{}", status: 403), outcome: "unauthorized"),
        Case(name: "404", answer: .json("{}", status: 404), outcome: "rejected"),
        Case(name: "410", answer: .json("{}", status: 410), outcome: "rejected"),
        Case(name: "413", answer: .json("{}", status: 413), outcome: "too large"),
        Case(name: "422", answer: .json("{}", status: 422), outcome: "rejected"),
        Case(
            name: "429", answer: .json("{}", status: 429, headers: ["Retry-After": "5"]),
            outcome: "retry 5 backend.status"),
        Case(name: "500", answer: .json("{}", status: 500), outcome: "retry - backend.status"),
        Case(name: "closed", answer: .close, outcome: "retry - http.connection_lost"),
    ])
    func anAnswerDecidesWhatBecomesOfAResult(testCase: Case) async {
        server.route("/api/agent/task/t1", testCase.answer)
        server.route("/moved", .json("{}"))
        #expect(Self.name(await deliver()) == testCase.outcome)
        #expect(server.requests.allSatisfy { $0.method == "POST" && $0.body == Data(#"{"data":"4"}"#.utf8) })
        #expect(server.requests.allSatisfy { $0.header("Idempotency-Key") == "run-1" })
        #expect(server.requests.first?.header("Content-Type") == "application/json")
    }

    struct Segment: Sendable, CustomTestStringConvertible {
        var id: String
        var segment: String
        var testDescription: String { id }
    }

    @Test(arguments: [
        Segment(id: "a/b", segment: "a%2Fb"), Segment(id: "a?b#c", segment: "a%3Fb%23c"),
        Segment(id: "../x", segment: "..%2Fx"), Segment(id: "é ", segment: "%C3%A9%20"),
        Segment(id: "50%", segment: "50%25"), Segment(id: "A-z_0.9~", segment: "A-z_0.9~"),
    ])
    func aTaskIDIsOneSegment(segment: Segment) async {
        server.route("/api/agent/task/\(segment.segment)", .json("{}"))
        #expect(Self.name(await deliver(segment.id)) == "delivered")
        #expect(server.requests.map(\.target) == ["/api/agent/task/\(segment.segment)"])
    }

    @Test(arguments: ["", ".", ".."]) func aTaskIDThatIsNoSegmentIsRejected(id: String) async {
        #expect(Self.name(await deliver(id)) == "rejected")
        #expect(server.requests.isEmpty)
    }

    struct Wait: Sendable, CustomTestStringConvertible {
        var text: String
        var seconds: Int?
        var testDescription: String { text }
    }

    @Test(arguments: [
        Wait(text: "0", seconds: 0), Wait(text: " 120 ", seconds: 120),
        Wait(text: "99999999999999999999", seconds: 86_400),
        Wait(text: "Mon, 23 Nov 2026 21:00:30 GMT", seconds: 30),
        Wait(text: "Monday, 23-Nov-26 21:00:30 GMT", seconds: 30),
        Wait(text: "Mon Nov 23 21:00:30 2026", seconds: 30),
        Wait(text: "Mon, 23 Nov 2026 20:00:00 GMT", seconds: 0), Wait(text: "soon", seconds: nil),
        Wait(text: "-5", seconds: nil), Wait(text: "", seconds: nil),
    ])
    func retryAfterIsSecondsOrADate(wait: Wait) throws {
        // 2026-11-23T21:00:00Z
        let now = try #require(RFC3339.date(from: "2026-11-23T21:00:00Z"))
        #expect(RetryAfter.duration(wait.text, now: now) == wait.seconds.map { .seconds($0) })
    }
}
