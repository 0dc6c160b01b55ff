import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// `POST /api/agent/task/{TASK_ID}`.
@Suite struct ResultDeliveryTests {
    private static let path = "/api/agent/task/\(QuickstartSeed.squareTask)"

    private static let full: JSONValue = [
        "data": "4", "run_id": "run-1", "status": "failed",
        "error": ["code": "plugin.exception", "type": "ValueError", "message": "bad", "traceback": "Traceback…"],
        "stdout": "out\u{0}put", "stderr": "", "started_at": "2026-11-23T21:07:00.000Z",
        "finished_at": "2026-11-23T21:07:00.250Z", "duration_ms": 250.5, "scheduled_for": "2026-11-23T21:07:00.000Z",
        "isolation": "in-process", "python_stack": "Stack\u{0}", "agent_version": "1.2.3",
    ]

    @Test func everyFieldOfAResultIsKept() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let receipt = try await client.send(
                .post, Self.path, json: Self.full, headers: ["Idempotency-Key": "run-1"])
            #expect(receipt.status == 201)
            let id = try #require(receipt.data["id"].string)

            guard case .object(var expected) = Self.full else { return }
            let run = try await client.administer(.get, "/runs/\(id)")
            #expect(run.status == 200)
            guard case .object(let fields) = run.data else {
                Issue.record("not an object: \(run.data.text)")
                return
            }
            expected["id"] = .string(id)
            expected["agent_id"] = .string(QuickstartSeed.agentID)
            expected["task_id"] = .string(QuickstartSeed.squareTask)
            expected["command"] = .string("\(QuickstartSeed.pluginID).square")
            expected["is_excerpt"] = false
            expected["received_at"] = fields["received_at"]
            #expect(fields == expected)
        }
    }

    @Test(arguments: [JSONValue.string("The square of 2 is 4"), .null, .string(""), .string("a\u{0}b\r\n\u{1F600}")])
    func aBodyOfPart1IsTaken(data: JSONValue) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let answer = try await client.send(.post, Self.path, json: ["data": data, "unknown": [1, 2]])
            #expect(answer.status == 201)
            let run = try await client.administer(.get, "/runs/\(answer.data["id"].string ?? "")")
            #expect(run.data["data"] == data)
            #expect(run.data["status"] == .null)
        }
    }

    @Test func aRunIsStoredOnceHoweverOftenItArrives() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let headers = ["Idempotency-Key": "run-1"]
            let first = try await client.send(.post, Self.path, json: ["data": "first"], headers: headers)
            let second = try await client.send(.post, Self.path, json: ["data": "second"], headers: headers)
            let quoted = try await client.send(
                .post, Self.path, json: ["data": "x"], headers: ["Idempotency-Key": "\"run-1\""])
            let byField = try await client.send(
                .post, Self.path, json: ["data": "x", "run_id": "run-1", "status": "succeeded"])
            let statuses: [Int] = [first, second, quoted, byField].map(\.status)
            #expect(statuses == [201, 200, 200, 200])
            #expect(second.data == first.data)
            let runs = try await backend.runs(ofTask: QuickstartSeed.squareTask)
            #expect(runs.map(\.result.data) == ["first"])
        }
    }

    @Test func fiftyDeliveriesOfOneRunAtTheSameTimeStoreItOnce() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<50 {
                    group.addTask {
                        try await client.send(
                            .post, Self.path, json: ["data": .string("\(number)")],
                            headers: ["Idempotency-Key": "one-run"]
                        ).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.filter { $0 == 201 }.count == 1)
            #expect(statuses.filter { $0 == 200 }.count == 49)
            #expect(try await backend.service.runCount(ofTask: QuickstartSeed.squareTask) == 1)
        }
    }

    @Test func withoutAKeyASchedulesResultsAreRunsOfTheirOwnAndAOneOffsIsStoredOnce() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            for task in [QuickstartSeed.squareTask, QuickstartSeed.greetTask] {
                for _ in 0..<2 {
                    _ = try await client.send(.post, "/api/agent/task/\(task)", json: ["data": .null])
                }
            }
            #expect(try await backend.service.runCount(ofTask: QuickstartSeed.squareTask) == 2)
            #expect(try await backend.service.runCount(ofTask: QuickstartSeed.greetTask) == 1)
        }
    }

    @Test func aKeyOfAnotherTasksRunIsRefused() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let headers = ["Idempotency-Key": "run-1"]
            _ = try await client.send(.post, Self.path, json: ["data": "x"], headers: headers)
            let other = try await client.send(
                .post, "/api/agent/task/\(QuickstartSeed.greetTask)", json: ["data": "x"], headers: headers)
            #expect(other.status == 422)
            #expect(other.errorField == "run_id")
            #expect(other.errorMessage.contains(QuickstartSeed.squareTask))
        }
    }

    @Test func aRepeatIsKnownAlsoAfterItsTaskWasDeleted() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let headers = ["Idempotency-Key": "run-1"]
            _ = try await client.send(.post, Self.path, json: ["data": "x"], headers: headers)
            try await backend.service.deleteTask(QuickstartSeed.squareTask)
            #expect(try await client.send(.post, Self.path, json: ["data": "x"], headers: headers).status == 200)
            let other = try await client.send(.post, Self.path, json: ["data": "x"])
            #expect(other.errorCode == "task.not_found")
        }
    }

    @Test func anUnknownTaskIsNotFound() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let answer = try await TestClient(backend).send(.post, "/api/agent/task/nope", json: ["data": "x"])
            #expect(answer.status == 404)
            #expect(answer.errorCode == "task.not_found")
            #expect(answer.errorMessage.contains("\"nope\""))
        }
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var name: String
        var body: String
        var headers: [String: String] = [:]
        var code = "request.invalid_field"
        var field: String?

        var testDescription: String { name }
    }

    @Test func aStatusOfANewerAgentIsKeptAsItIsWritten() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let answer = try await client.send(.post, Self.path, json: ["data": "x", "status": "put_off"])
            #expect(answer.status == 201)
            let id = try #require(answer.data["id"].string)
            #expect(try await client.administer(.get, "/runs/\(id)").data["status"] == "put_off")
        }
    }

    @Test(arguments: [
        Malformed(name: "no JSON", body: "<html>", code: "request.invalid_body"),
        Malformed(name: "empty", body: "", code: "request.invalid_body"),
        Malformed(name: "a list", body: "[1]", code: "request.invalid_body"),
        Malformed(name: "data a number", body: "{\"data\": 5}", field: "data"),
        Malformed(name: "no status", body: "{\"data\": null, \"status\": \"two words\"}", field: "status"),
        Malformed(
            name: "error without a code", body: "{\"data\": null, \"error\": {\"message\": \"x\"}}",
            field: "error.code"),
        Malformed(name: "no time", body: "{\"data\": null, \"started_at\": \"noon\"}", field: "started_at"),
        Malformed(name: "duration a string", body: "{\"data\": null, \"duration_ms\": \"1\"}", field: "duration_ms"),
        Malformed(name: "run_id empty", body: "{\"data\": null, \"run_id\": \"\"}", field: "run_id"),
        Malformed(
            name: "run_id against the key", body: "{\"data\": null, \"run_id\": \"a\"}",
            headers: ["Idempotency-Key": "b"], field: "run_id"),
        Malformed(
            name: "key too long", body: "{\"data\": null}",
            headers: ["Idempotency-Key": String(repeating: "k", count: 256)], field: "Idempotency-Key"),
    ])
    func aMalformedResultIsRefusedWithItsFieldNamed(malformed: Malformed) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let answer = try await TestClient(backend).send(
                .post, Self.path, text: malformed.body, headers: malformed.headers)
            #expect(answer.status == 422)
            #expect(answer.errorCode == .string(malformed.code))
            #expect(answer.errorField.string == malformed.field)
            #expect(try await backend.service.runCount(ofTask: QuickstartSeed.squareTask) == 0)
        }
    }

    @Test func aResultOverTheLimitIsRefusedOneAtTheLimitIsTakenAndTheServerGoesOn() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, maximumResultSize: 10_000) { backend in
            let client = try TestClient(backend)
            func body(ofSize size: Int) -> String { "{\"data\":\"\(String(repeating: "x", count: size - 11))\"}" }
            let over = try await client.send(.post, Self.path, text: body(ofSize: 10_001))
            #expect(over.status == 413)
            #expect(over.errorCode == "request.too_large")
            #expect(try await client.send(.post, Self.path, text: body(ofSize: 10_000)).status == 201)
        }
    }

    @Test func whoWaitsForRunsIsWokenByTheirArrival() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            async let waiting = backend.waitForRuns(ofTask: QuickstartSeed.squareTask, count: 3)
            for number in 0..<3 {
                _ = try await client.send(.post, Self.path, json: ["data": .string("\(number)")])
            }
            #expect(try await waiting.map(\.result.data) == ["0", "1", "2"])
            // What is there already needs no arrival.
            #expect(try await backend.waitForRuns(ofTask: QuickstartSeed.squareTask, count: 3).count == 3)
            await #expect(
                throws: LiveBackendError.missingRuns(taskID: QuickstartSeed.squareTask, expected: 4, stored: 3)
            ) {
                try await backend.waitForRuns(ofTask: QuickstartSeed.squareTask, count: 4, limit: .milliseconds(1))
            }
        }
    }
}
