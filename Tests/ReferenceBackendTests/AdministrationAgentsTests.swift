import AgentModel
import AgentTestSupport
import BackendClient
import Diagnostics
import ReferenceBackend
import Testing

/// `/admin/api/agents`.
@Suite struct AdministrationAgentsTests {
    @Test func agentsAreListedShownNamedAndDeleted() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let path = "/agents/\(QuickstartSeed.agentID)"
            let list = try await client.administer(.get, "/agents")
            #expect(list.data.elements.map { $0["id"].string } == [QuickstartSeed.agentID])
            #expect(list.data[0]["addresses"] == ["127.0.0.1", "::1"])
            #expect(list.data[0]["last_seen_at"] == .null)

            _ = try await client.get("/api/agent")
            let seen = try await client.administer(.get, path)
            #expect(seen.data["last_seen_at"].string.flatMap(RFC3339.date(from:)) != nil)
            #expect(seen.data["plugins"] == [.string(QuickstartSeed.pluginID)])

            let named = try await client.administer(.patch, path, json: ["name": "Kitchen"])
            #expect(named.status == 200)
            #expect(named.data["name"] == "Kitchen")
            #expect(named.data["team_id"] == "9ab55261-b6b0-4fb4-85e5-a3491a72f720")
            let moved = try await client.administer(.patch, path, json: ["team_id": .null])
            #expect(moved.data["name"] == "Kitchen")
            #expect(moved.data["team_id"] == .null)

            #expect(try await client.administer(.delete, path).status == 204)
            #expect(try await client.administer(.get, path).errorCode == "agent.not_found")
            #expect(try await client.administer(.delete, path).status == 404)
            #expect(try await client.administer(.get, "/tasks").data == [])
        }
    }

    @Test func runsOutliveTheirAgent() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let path = "/api/agent/task/\(QuickstartSeed.greetTask)"
            _ = try await client.send(.post, path, json: ["data": "hello"])
            #expect(try await client.administer(.delete, "/agents/\(QuickstartSeed.agentID)").status == 204)
            #expect(try await client.administer(.get, "/runs").data[0]["data"] == "hello")
        }
    }

    @Test func pluginsAreAssignedAndTakenAwayWhichTheAgentSees() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let agentID = try await backend.localAgentID()
            let plugin = try await backend.service.publish(
                NewPlugin(name: "P", script: "class Plugin: pass", functions: [:])
            ).document.id
            let path = "/agents/\(agentID)/plugins/\(plugin)"
            for _ in 0..<2 {
                let answer = try await client.administer(.put, path)
                #expect(answer.status == 200)
                #expect(answer.data["plugins"] == [.string(plugin)])
            }
            #expect(try await client.get("/api/agent").data["plugins"] == [.string(plugin)])
            #expect(try await client.administer(.delete, path).data["plugins"] == [])
            #expect(try await client.get("/api/agent").data["plugins"] == [])
            #expect(try await client.get("/api/agent/plugin/\(plugin)").status == 404)

            #expect(try await client.administer(.delete, path).errorCode == "plugin.not_found")
            let unknownPlugin = try await client.administer(.put, "/agents/\(agentID)/plugins/nope")
            #expect(unknownPlugin.errorCode == "plugin.not_found")
            let unknownAgent = try await client.administer(.put, "/agents/nope/plugins/\(plugin)")
            #expect(unknownAgent.errorCode == "agent.not_found")
        }
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var name: String
        var body: String
        var code = "request.invalid_field"
        var field: String?

        var testDescription: String { name }
    }

    @Test(arguments: [
        Malformed(name: "no JSON", body: "{", code: "request.invalid_body"),
        Malformed(name: "a list", body: "[]", code: "request.invalid_body"),
        Malformed(name: "name a number", body: "{\"name\": 5}", field: "name"),
        Malformed(name: "name empty", body: "{\"name\": \"\"}", field: "name"),
        Malformed(name: "name with NUL", body: "{\"name\": \"a\\u0000b\"}", field: "name"),
        Malformed(
            name: "name too long", body: "{\"name\": \"\(String(repeating: "n", count: 1001))\"}", field: "name"),
        Malformed(name: "misspelt", body: "{\"teamid\": \"x\"}", field: "teamid"),
    ])
    func aMalformedChangeIsRefusedWithItsFieldNamed(malformed: Malformed) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let answer = try await TestClient(backend).administer(
                .patch, "/agents/\(QuickstartSeed.agentID)", text: malformed.body)
            #expect(answer.status == 422)
            #expect(answer.errorCode == .string(malformed.code))
            #expect(answer.errorField.string == malformed.field)
        }
    }
}
