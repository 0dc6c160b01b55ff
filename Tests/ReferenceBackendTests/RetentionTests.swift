import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import InMemoryLogging
import Logging
import ReferenceBackend
import Testing

/// What is deleted and what is written down of it: runs, plugins, the log of what administrators change.
@Suite struct RetentionTests {
    private func store(_ count: Int, in service: BackendService, from: Int = 0) async throws {
        for number in from..<(from + count) {
            _ = try await service.store(
                TaskResult(data: "x", runID: "run-\(number)"), ofTask: QuickstartSeed.squareTask,
                from: QuickstartSeed.agentID)
        }
    }

    @Test func runsAreDeletedOneByOneOrByTheirTimeAndATaskThatIsDoneStaysDone() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, now: { clock.now }) { backend in
            let client = try TestClient(backend)
            let service = backend.service
            let once = try await service.store(
                TaskResult(data: "x", runID: "once"), ofTask: QuickstartSeed.greetTask, from: QuickstartSeed.agentID)
            let listed = try await service.taskDocuments(for: QuickstartSeed.agentID).map(\.id)
            #expect(try await client.administer(.delete, "/runs/\(once.run.id)").status == 204)
            #expect(try await client.administer(.get, "/runs/\(once.run.id)").status == 404)
            #expect(try await client.administer(.delete, "/runs/\(once.run.id)").status == 404)
            #expect(try await service.taskDocuments(for: QuickstartSeed.agentID).map(\.id) == listed)

            try await store(450, in: service)
            clock.advance(by: 3600)
            try await store(3, in: service, from: 450)
            let missing = try await client.administer(.delete, "/runs")
            #expect(missing.status == 422)
            #expect(missing.errorField == "before")
            let misspelt = try await client.administer(.delete, "/runs?before=2026-11-24T00:30:00Z&agnt=x")
            #expect(misspelt.errorField == "agnt")
            let nobody = try await client.administer(.delete, "/runs?before=2026-11-24T00:30:00Z&agent=nobody")
            #expect(nobody.data["deleted"] == 0)
            let deleted = try await client.administer(.delete, "/runs?before=2026-11-24T00:30:00Z")
            #expect(deleted.status == 200)
            #expect(deleted.data["deleted"] == 450)
            #expect(try await service.runCount(ofTask: QuickstartSeed.squareTask) == 3)
            #expect(try await service.taskDocuments(for: QuickstartSeed.agentID).map(\.id) == listed)
            let agent = try await client.administer(.get, "/agents/\(QuickstartSeed.agentID)")
            #expect(agent.data["stored_bytes"] == .integer(Int64(3 * 513)))
        }
    }

    @Test func runsThatAreOlderThanTheyAreToBeKeptGoByThemselves() async throws {
        let folder = try TemporaryFolder()
        let clock = ManualClock("2026-11-24T00:00:00Z")
        let service = try await BackendService.open(dataFolder: folder.url, now: { clock.now })
        try await service.seed(from: QuickstartSeed.folder)
        try await store(5, in: service)
        clock.advance(by: 29 * 86400)
        try await store(2, in: service, from: 5)
        clock.advance(by: 86401)
        try await service.close()
        let backend = try await LiveBackend.start(data: folder, runRetention: 30, now: { clock.now })
        try await eventually("the old runs are deleted") {
            try await backend.service.runCount(ofTask: QuickstartSeed.squareTask) == 2
        }
        await backend.stop()
    }

    @Test func aPluginIsDeletedOnceNoAgentHasIt() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let path = "/plugins/\(QuickstartSeed.pluginID)"
            let refused = try await client.administer(.delete, path)
            #expect(refused.status == 409)
            #expect(refused.errorCode == "plugin.assigned")
            #expect(refused.errorMessage.contains(QuickstartSeed.agentID))
            let assignment = "/agents/\(QuickstartSeed.agentID)/plugins/\(QuickstartSeed.pluginID)"
            #expect(try await client.administer(.delete, assignment).status == 200)
            #expect(try await client.administer(.delete, path).status == 204)
            #expect(try await client.administer(.get, path).status == 404)
            #expect(try await client.administer(.delete, path).status == 404)
        }
    }

    @Test func anAgentStoresNoMoreThanItMayAndOthersGoOn() async throws {
        let limits = ServerLimits(maximumAgentStorage: 20_000)
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, limits: limits) { backend in
            let client = try TestClient(backend)
            let path = "/api/agent/task/\(QuickstartSeed.squareTask)"
            func post(_ id: String) async throws -> TestClient.Answer {
                try await client.send(
                    .post, path, json: ["data": .string(String(repeating: "x", count: 9000)), "run_id": .string(id)])
            }
            #expect(try await post("1").status == 201)
            #expect(try await post("2").status == 201)
            let full = try await post("3")
            #expect(full.status == 507)
            #expect(full.errorCode == "agent.storage_full")
            #expect(full.response.header("Retry-After") == "300")
            // What is stored already is acknowledged all the same.
            #expect(try await post("2").status == 200)
            let other = try await backend.service.agentID(atAddress: "192.0.2.1")
            _ = try await backend.service.assign(QuickstartSeed.pluginID, to: other)
            let task = try await backend.service.createTask(
                NewTask(agentID: other, command: "\(QuickstartSeed.pluginID).greet"))
            _ = try await backend.service.store(TaskResult(data: "x"), ofTask: task.document.id, from: other)
            let first = try await backend.service.runs(RunFilter(runID: "1")).elements[0]
            #expect(try await client.administer(.delete, "/runs/\(first.id)").status == 204)
            #expect(try await post("3").status == 201)
        }
    }

    @Test func everyChangeOfAnAdministratorIsInTheLogWithWhoMadeIt() async throws {
        let log = InMemoryLogHandler()
        var logger = Logger(label: "backend", factory: { _ in log })
        logger.logLevel = .info
        let backend = try await LiveBackend.start(
            seed: QuickstartSeed.folder, authentication: .device, logger: logger)
        let client = try TestClient(backend)
        let host = try DeviceClient(backend)
        let agent = "/agents/\(QuickstartSeed.agentID)"
        func changes() -> [InMemoryLogHandler.Entry] {
            log.entries.filter { "\($0.message)".hasPrefix("an administrator ") }
        }
        let published = try await client.administer(
            .post, "/plugins", json: ["name": "P", "script": "class Plugin: pass", "commands": ["f": "f"]])
        let plugin = try #require(published.data["id"].string)
        _ = try await client.administer(.put, "\(agent)/plugins/\(plugin)")
        let created = try await client.administer(
            .post, "/tasks", json: ["agent_id": .string(QuickstartSeed.agentID), "command": .string("\(plugin).f")])
        let task = try #require(created.data["id"].string)
        _ = try await client.administer(.patch, "/tasks/\(task)", json: ["enabled": false])
        _ = try await client.administer(.delete, "/tasks/\(task)")
        _ = try await client.administer(.patch, agent, json: ["name": "kitchen\n"])
        _ = try await client.administer(.patch, agent, json: ["name": "kitchen"])
        _ = try await client.administer(.delete, "\(agent)/plugins/\(plugin)")
        _ = try await client.administer(.delete, "/plugins/\(plugin)")
        _ = try await client.administer(.delete, "\(agent)/tokens")
        _ = try await client.administer(.delete, "/runs?before=2026-01-01T00:00:00Z")
        let code = try await host.begin().userCode
        _ = try await client.administer(.post, "/devices/\(code)/approve", json: ["name": "x"])
        let other = try await host.begin().userCode
        _ = try await client.administer(.post, "/devices/\(other)/deny")
        _ = try await client.administer(.delete, agent)
        // Nothing was changed by these.
        _ = try await client.administer(.delete, agent)
        _ = try await client.administer(.get, "/agents")
        let expected = [
            "published the plugin \"\(plugin)\": \"P\"", "assigned the plugin \"\(plugin)\"",
            "created the task \"\(task)\"", "changed the task \"\(task)\"", "deleted the task \"\(task)\"",
            "changed the agent \"\(QuickstartSeed.agentID)\": name \"kitchen\"", "took the plugin \"\(plugin)\"",
            "deleted the plugin \"\(plugin)\"", "ended the logins", "deleted 0 runs by \"before=",
            "approved the code \"\(code)\"", "denied the code \(other)", "deleted the agent",
        ]
        let lines = changes()
        #expect(lines.count == expected.count, "\(lines.map { "\($0.message)" })")
        for (line, text) in zip(lines, expected) {
            #expect("\(line.message)".hasPrefix("an administrator " + text), "\(line.message)")
            #expect(line.metadata["address"] == "127.0.0.1")
            #expect(line.metadata["by"].map { "\($0)" }?.hasPrefix("administration token ") == true)
        }
        #expect(!log.entries.contains { "\($0)".contains(backend.administrationToken) })

        // What a command did beside the server comes into the same log.
        let waiting = try await host.begin().userCode
        let data = backend.dataFolder.path
        #expect(try await CommandResult.of("device", "deny", waiting, "--data", data).status == 0)
        #expect(try await CommandResult.of("token", "reset", "--data", data).status == 0)
        try await eventually("the commands are in the log") { changes().count == expected.count + 2 }
        let commands = changes().suffix(2)
        #expect("\(commands.first?.message ?? "")" == "an administrator denied the code \(waiting)")
        #expect("\(commands.last?.message ?? "")" == "an administrator reset the administration token")
        #expect(commands.allSatisfy { $0.metadata["by"].map { "\($0)" }?.contains("by a command") == true })
        await backend.stop()
    }
}
