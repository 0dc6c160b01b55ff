import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// Part 1 of the contract, as an agent sees it.
@Suite struct AgentRoutesTests {
    @Test(arguments: ["/api/agent", "/api/agent/"])
    func theAgentIsFoundWithAndWithoutASlash(path: String) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let answer = try await TestClient(backend).get(path)
            #expect(answer.status == 200)
            #expect(answer.response.url.path == path)
            #expect(answer.response.header("Content-Type") == "application/json")
            #expect(answer.data["id"] == .string(QuickstartSeed.agentID))
            #expect(answer.data["name"] == "Test Agent")
            #expect(answer.data["team_id"] == "9ab55261-b6b0-4fb4-85e5-a3491a72f720")
            #expect(answer.data["plugins"] == [.string(QuickstartSeed.pluginID)])
        }
    }

    @Test func anUnknownAddressIsRegisteredWithNullNameAndTeamAndStaysTheSameAgent() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let first = try await client.get("/api/agent")
            #expect(first.status == 200)
            guard case .object(let fields) = first.data else {
                Issue.record("not an object: \(first.data.text)")
                return
            }
            #expect(fields["name"] == JSONValue.null)
            #expect(fields["team_id"] == JSONValue.null)
            #expect(fields["plugins"] == [])
            #expect(try await client.get("/api/agent").data == first.data)
            #expect(try await backend.service.agents().elements.count == 1)
        }
    }

    @Test func aForwardedAddressIsNotBelieved() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let answer = try await client.get(
                "/api/agent", headers: ["X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7"])
            #expect(answer.data["id"] == .string(QuickstartSeed.agentID))
        }
    }

    @Test func thePluginIsServedByteForByteWithItsHash() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let answer = try await TestClient(backend).get("/api/agent/plugin/\(QuickstartSeed.pluginID)")
            #expect(answer.status == 200)
            let envelope = try JSONDecoder().decode(Envelope<PluginDocument>.self, from: answer.response.body)
            let script = try Data(contentsOf: QuickstartSeed.folder.appending(path: QuickstartSeed.scriptFile))
            #expect(Data(envelope.data.script.utf8) == script)
            #expect(envelope.data.hash == QuickstartSeed.hash)
            #expect(envelope.data.version == .integer(0))
            #expect(envelope.data.commands["\(QuickstartSeed.pluginID).square"]?.function == "square")
        }
    }

    @Test func aPluginThatIsntAssignedIsNotFound() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let other = try await backend.service.publish(
                NewPlugin(name: "Other", script: "class Plugin: pass", functions: [:]))
            for id in [other.document.id, "missing", "..%2f..%2fetc", "a%00b"] {
                let answer = try await client.get("/api/agent/plugin/\(id)")
                #expect(answer.status == 404, "\(id)")
                #expect(answer.errorMessage != "", "\(id)")
            }
            #expect(try await client.get("/api/agent/plugin/missing").errorCode == "plugin.not_found")
        }
    }

    @Test func tasksComeAsTheContractWritesThem() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let tasks = try await TestClient(backend).get("/api/agent/tasks")
            #expect(tasks.status == 200)
            #expect(tasks.data.elements.count == 2)
            #expect(
                tasks.data[1] == [
                    "id": .string(QuickstartSeed.squareTask),
                    "command": .string("\(QuickstartSeed.pluginID).square"),
                    "cron": "* * * * *", "arguments": "{\"number\":2}",
                ])
            #expect(tasks.data[0]["cron"] == .null)
        }
    }

    @Test func aOneOffIsListedUntilItHasAResultAndAScheduleForEver() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            for task in [QuickstartSeed.greetTask, QuickstartSeed.squareTask] {
                #expect(try await client.send(.post, "/api/agent/task/\(task)", json: ["data": "x"]).status == 201)
            }
            let tasks = try await client.get("/api/agent/tasks").data.elements
            #expect(tasks.map { $0["id"].string } == [QuickstartSeed.squareTask])
        }
    }

    @Test func aTaskThatIsDisabledIsNotListed() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            _ = try await backend.service.updateTask(QuickstartSeed.squareTask, TaskChange(isEnabled: .set(false)))
            let tasks = try await TestClient(backend).get("/api/agent/tasks").data.elements
            #expect(tasks.map { $0["id"].string } == [QuickstartSeed.greetTask])
        }
    }

    @Test(arguments: ["/api/agent", "/api/agent/tasks", "/api/agent/plugin/\(QuickstartSeed.pluginID)"])
    func anETagSparesTheBodyUntilSomethingChanges(path: String) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let tag = try #require(try await client.get(path).response.header("ETag"))
            #expect(tag.hasPrefix("\"") && tag.hasSuffix("\""))
            for value in [tag, "\"other\", \(tag)", "W/\(tag)", "*"] {
                let answer = try await client.get(path, headers: ["If-None-Match": value])
                #expect(answer.status == 304, "\(value)")
                #expect(answer.response.body.isEmpty)
                #expect(answer.response.header("ETag") == tag)
            }
            #expect(try await client.get(path, headers: ["If-None-Match": "\"other\""]).status == 200)

            _ = try await backend.service.updateAgent(QuickstartSeed.agentID, AgentChange(name: .set("Renamed")))
            try await backend.service.deleteTask(QuickstartSeed.greetTask)
            let seed = try QuickstartSeed.copy()
            try Data("class Plugin: pass\n".utf8).write(to: seed.url.appending(path: QuickstartSeed.scriptFile))
            try await backend.service.seed(from: seed.url)
            _ = try await backend.service.updateAgent(QuickstartSeed.agentID, AgentChange(name: .set("Renamed")))
            try await backend.service.deleteTask(QuickstartSeed.greetTask)
            let changed = try await client.get(path, headers: ["If-None-Match": tag])
            #expect(changed.status == 200)
            #expect(changed.response.header("ETag") != tag)
        }
    }

    @Test func headGivesTheHeadersAlone() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let answer = try await client.send(.head, "/api/agent")
            #expect(answer.status == 200)
            #expect(answer.response.body.isEmpty)
            let tag = try await client.get("/api/agent").response.header("ETag")
            #expect(answer.response.header("ETag") == tag)
        }
    }

    @Test func healthIsToldToAnybodyAndAnUnknownRouteIsAJSONError() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            #expect(try await client.get("/healthz").data["status"] == "ok")
            let unknown = try await client.get("/no/such/route")
            #expect(unknown.status == 404)
            #expect(unknown.errorCode == "route.not_found")
            #expect(try await client.send(.delete, "/api/agent").status == 404)
        }
    }
}
