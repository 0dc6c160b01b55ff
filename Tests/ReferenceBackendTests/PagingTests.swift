import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// Lists of the administration API, and the runs in them.
@Suite struct PagingTests {
    /// Follows `next_cursor` to the end, and gives back the ids in the order they came.
    private func walk(_ client: TestClient, _ path: String, limit: Int) async throws -> [[String]] {
        var pages: [[String]] = []
        var cursor = ""
        repeat {
            let separator = path.contains("?") ? "&" : "?"
            let answer = try await client.administer(.get, "\(path)\(separator)limit=\(limit)&cursor=\(cursor)")
            #expect(answer.status == 200)
            pages.append(answer.data.elements.compactMap { $0["id"].string })
            cursor = answer.json["next_cursor"].string ?? ""
        } while !cursor.isEmpty && pages.count < 20
        return pages
    }

    @Test func allListsPageThroughEverythingOnce() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let service = backend.service
            var ids: [String: [String]] = [:]
            for number in 0..<5 {
                ids["/agents", default: []].append(try await service.registerAgent(id: "agent-\(number)").id)
                let plugin = NewPlugin(name: "P", script: "class Plugin: pass", functions: ["greet": "greet"])
                ids["/plugins", default: []].append(try await service.publish(plugin).document.id)
            }
            let plugin = try #require(ids["/plugins"]?.first)
            _ = try await service.assign(plugin, to: "agent-0")
            for _ in 0..<5 {
                let task = try await service.createTask(NewTask(agentID: "agent-0", command: "\(plugin).greet"))
                ids["/tasks", default: []].append(task.document.id)
                let run = try await service.store(
                    TaskResult(data: "x"), ofTask: task.document.id, from: "agent-0")
                ids["/runs", default: []].insert(run.run.id, at: 0)
            }
            for (path, expected) in ids {
                let pages = try await walk(client, path, limit: 2)
                #expect(pages.map(\.count) == [2, 2, 1], "\(path)")
                #expect(pages.flatMap { $0 } == expected, "\(path)")
                // A last page that is just full says so.
                #expect(try await walk(client, path, limit: 5) == [expected], "\(path)")
            }
        }
    }

    @Test func whatArrivesWhilePagingNeitherRepeatsNorShiftsRuns() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            func post(_ data: String) async throws {
                _ = try await client.send(
                    .post, "/api/agent/task/\(QuickstartSeed.squareTask)", json: ["data": .string(data)])
            }
            for number in 0..<4 { try await post("\(number)") }
            let first = try await client.administer(.get, "/runs?limit=2")
            try await post("4")
            let cursor = try #require(first.json["next_cursor"].string)
            let second = try await client.administer(.get, "/runs?limit=2&cursor=\(cursor)")
            #expect(first.data.elements.map { $0["data"].string } == ["3", "2"])
            #expect(second.data.elements.map { $0["data"].string } == ["1", "0"])
            #expect(second.json["next_cursor"] == .null)
        }
    }

    @Test(arguments: [
        ("limit=0", "limit"), ("limit=201", "limit"), ("limit=ten", "limit"), ("cursor=x", "cursor"),
        ("limit=99999999999999999999", "limit"), ("page=2", "page"), ("status=great", "status"),
    ])
    func aWrongParameterIsRefusedByName(query: String, field: String) async throws {
        try await LiveBackend.withLiveBackend { backend in
            let answer = try await TestClient(backend).administer(.get, "/runs?\(query)")
            #expect(answer.status == 422)
            #expect(answer.errorField.string == field)
        }
    }

    @Test func runsAreFilteredByAgentTaskStatusAndRunId() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            for (number, status) in ["succeeded", "failed", "succeeded"].enumerated() {
                let task = number == 2 ? QuickstartSeed.greetTask : QuickstartSeed.squareTask
                _ = try await client.send(
                    .post, "/api/agent/task/\(task)",
                    json: ["data": .null, "status": .string(status), "run_id": .string("run-\(number)")])
            }
            let expected = [
                "status=succeeded": ["run-2", "run-0"], "status=failed": ["run-1"], "status=crashed": [],
                "task=\(QuickstartSeed.squareTask)": ["run-1", "run-0"],
                "task=\(QuickstartSeed.squareTask)&status=succeeded": ["run-0"], "run_id=run-1": ["run-1"],
                "agent=\(QuickstartSeed.agentID)": ["run-2", "run-1", "run-0"], "agent=nope": [],
            ]
            for (query, ids) in expected {
                let runs = try await client.administer(.get, "/runs?\(query)").data.elements
                #expect(runs.map { $0["run_id"].string } == ids, "\(query)")
            }
            #expect(try await client.administer(.get, "/runs/nope").errorCode == "run.not_found")
        }
    }

    @Test func aListShowsExcerptsAndOneRunEverything() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            // The cut falls within a character of two bytes.
            let long = "x" + String(repeating: "\u{e9}", count: 5000)
            let path = "/api/agent/task/\(QuickstartSeed.squareTask)"
            _ = try await client.send(
                .post, path, json: ["data": "short", "stdout": .string(long), "status": "succeeded"])
            let listed = try await client.administer(.get, "/runs").data[0]
            #expect(listed["is_excerpt"] == true)
            #expect(listed["data"] == "short")
            #expect(listed["stdout"].string?.hasPrefix("x" + String(repeating: "\u{e9}", count: 2047)) == true)
            #expect((listed["stdout"].string?.utf8.count ?? 0) <= 4100)
            let shown = try await client.administer(.get, "/runs/\(listed["id"].string ?? "")").data
            #expect(shown["is_excerpt"] == false)
            #expect(shown["stdout"].string == long)
        }
    }
}
