import AgentModel
import AgentTestSupport
import BackendClient
import ReferenceBackend
import Testing

/// `/admin/api/tasks`.
@Suite struct AdministrationTasksTests {
    private static let square = "\(QuickstartSeed.pluginID).square"

    @Test func aTaskIsCreatedListedToItsAgentChangedAndDeleted() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let created = try await client.administer(
                .post, "/tasks",
                json: [
                    "agent_id": .string(QuickstartSeed.agentID), "command": .string(Self.square),
                    "cron": "*/5 * * * *", "arguments": ["number": 3],
                ])
            #expect(created.status == 201)
            let id = try #require(created.data["id"].string)
            #expect(created.data["arguments"] == "{\"number\":3}")
            #expect(created.data["enabled"] == true)
            let listed = try await client.get("/api/agent/tasks").data.elements.last
            #expect(
                listed == [
                    "id": .string(id), "command": .string(Self.square), "cron": "*/5 * * * *",
                    "arguments": "{\"number\":3}",
                ])

            let changed = try await client.administer(
                .patch, "/tasks/\(id)", json: ["cron": .null, "arguments": "{\"number\": 4}", "enabled": false])
            #expect(changed.status == 200)
            #expect(changed.data["cron"] == .null)
            #expect(changed.data["arguments"] == "{\"number\": 4}")
            #expect(changed.data["command"].string == Self.square)
            #expect(try await client.administer(.get, "/tasks/\(id)").data == changed.data)
            #expect(try await client.get("/api/agent/tasks").data.elements.count == 2)

            #expect(try await client.administer(.delete, "/tasks/\(id)").status == 204)
            #expect(try await client.administer(.get, "/tasks/\(id)").errorCode == "task.not_found")
            #expect(try await client.administer(.patch, "/tasks/\(id)", json: [:]).status == 404)
            #expect(try await client.administer(.delete, "/tasks/\(id)").status == 404)
        }
    }

    @Test func integersBeyond64BitsSurviveWhenArgumentsAreText() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let text = "{\"number\": 123456789012345678901234567890}"
            let created = try await client.administer(
                .post, "/tasks",
                json: [
                    "agent_id": .string(QuickstartSeed.agentID), "command": .string(Self.square),
                    "arguments": .string(text),
                ])
            #expect(created.data["arguments"].string == text)
        }
    }

    @Test func argumentsAsAnObjectKeepEveryDigit() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let object = #"{"x":1.0,"big":123456789012345678901234567890,"e":1e5,"n":-0.0}"#
            func fields(_ arguments: String) -> String {
                #"{"agent_id": "\#(QuickstartSeed.agentID)", "command": "\#(Self.square)", "arguments": \#(arguments)}"#
            }
            let created = try await client.administer(.post, "/tasks", text: fields(object))
            #expect(created.data["arguments"].string == object)
            let id = try #require(created.data["id"].string)
            let changed = try await client.administer(.patch, "/tasks/\(id)", text: #"{"arguments": {"x": 2.0}}"#)
            #expect(changed.data["arguments"].string == #"{"x": 2.0}"#)
            let refused = try await client.administer(.post, "/tasks", text: fields("[1]"))
            #expect(refused.errorField == "arguments")
        }
    }

    @Test(arguments: [JSONValue.null, "", "[]", "{}"])
    func noArgumentsMayBeSaidInTheContractsWays(arguments: JSONValue) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let created = try await TestClient(backend).administer(
                .post, "/tasks",
                json: [
                    "agent_id": .string(QuickstartSeed.agentID), "command": .string(Self.square),
                    "arguments": arguments,
                ])
            #expect(created.status == 201)
            #expect(created.data["arguments"] == "{}")
        }
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var field: String
        var value: JSONValue

        var testDescription: String { "\(field): \(value.text)" }
    }

    static let malformed = [
        Malformed(field: "command", value: "square"), Malformed(field: "command", value: "nope.square"),
        Malformed(field: "command", value: .null), Malformed(field: "cron", value: "every day"),
        Malformed(field: "cron", value: 5), Malformed(field: "arguments", value: "[1]"),
        Malformed(field: "arguments", value: "{"), Malformed(field: "arguments", value: "null"),
        Malformed(field: "arguments", value: [1]), Malformed(field: "arguments", value: 5),
        Malformed(field: "enabled", value: "yes"), Malformed(field: "corn", value: "* * * * *"),
    ]

    @Test(
        arguments: malformed + [
            Malformed(field: "agent_id", value: "nope"), Malformed(field: "agent_id", value: .null),
            Malformed(field: "id", value: "a/b"),
        ])
    func aMalformedTaskIsRefusedWithItsFieldNamed(malformed: Malformed) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            var fields: [String: JSONValue] = [
                "agent_id": .string(QuickstartSeed.agentID), "command": .string(Self.square),
            ]
            fields[malformed.field] = malformed.value
            let answer = try await client.administer(.post, "/tasks", json: .object(fields))
            #expect(answer.status == 422)
            #expect(answer.errorField.string == malformed.field)
            #expect(try await backend.service.tasks().elements.count == 2)
        }
    }

    @Test(arguments: malformed)
    func aMalformedChangeIsRefusedAndChangesNothing(malformed: Malformed) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let before = try await backend.service.task(QuickstartSeed.squareTask)
            var fields: [String: JSONValue] = ["enabled": false]
            fields[malformed.field] = malformed.value
            let answer = try await TestClient(backend).administer(
                .patch, "/tasks/\(QuickstartSeed.squareTask)", json: .object(fields))
            #expect(answer.status == 422)
            #expect(answer.errorField.string == malformed.field)
            #expect(try await backend.service.task(QuickstartSeed.squareTask) == before)
        }
    }

    @Test func anIdIsTakenOnce() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let answer = try await TestClient(backend).administer(
                .post, "/tasks",
                json: [
                    "id": .string(QuickstartSeed.greetTask), "agent_id": .string(QuickstartSeed.agentID),
                    "command": .string(Self.square),
                ])
            #expect(answer.status == 409)
            #expect(answer.errorCode == "task.already_exists")
        }
    }

    @Test func tasksAreListedByAgent() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            #expect(
                try await client.administer(.get, "/tasks?agent=\(QuickstartSeed.agentID)").data.elements.count == 2)
            #expect(try await client.administer(.get, "/tasks?agent=nope").data == [])
        }
    }
}
