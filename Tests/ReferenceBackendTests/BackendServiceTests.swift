import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import Synchronization
import Testing

/// What needs no HTTP: agents by address, storage on disk.
@Suite struct BackendServiceTests {
    @Test func twoAddressesAreTwoAgentsThatSeeNothingOfEachOther() async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(dataFolder: folder.url)
        let first = try await service.agentID(atAddress: "127.0.0.1")
        let second = try await service.agentID(atAddress: "127.0.0.2")
        #expect(first != second)
        let plugin = try await service.publish(
            NewPlugin(name: "P", script: "class Plugin: pass", functions: ["f": "f"])
        ).document.id
        _ = try await service.assign(plugin, to: first)
        let task = try await service.createTask(NewTask(agentID: first, command: "\(plugin).f")).document

        #expect(try await service.agentDocument(for: first).plugins == [plugin])
        #expect(try await service.taskDocuments(for: first) == [task])
        #expect(try await service.agentDocument(for: second).plugins == [])
        #expect(try await service.taskDocuments(for: second) == [])
        await #expect(throws: ReferenceBackendError.notFound(.plugin, id: plugin)) {
            try await service.pluginDocument(plugin, for: second)
        }
        await #expect(throws: ReferenceBackendError.notFound(.task, id: task.id)) {
            try await service.store(TaskResult(data: "x"), ofTask: task.id, from: second)
        }
        await #expect(throws: ReferenceBackendError.self) {
            try await service.createTask(NewTask(agentID: second, command: "\(plugin).f"))
        }
        try await service.close()
    }

    @Test func oneRunIdOfTwoAgentsIsTwoRuns() async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(dataFolder: folder.url)
        let plugin = try await service.publish(
            NewPlugin(name: "P", script: "class Plugin: pass", functions: ["f": "f"])
        ).document.id
        for address in ["192.0.2.1", "192.0.2.2"] {
            let agent = try await service.agentID(atAddress: address)
            _ = try await service.assign(plugin, to: agent)
            let task = try await service.createTask(NewTask(agentID: agent, command: "\(plugin).f")).document.id
            let delivery = try await service.store(
                TaskResult(data: address), ofTask: task, from: agent, key: "same-key")
            #expect(delivery.run.result.data == address)
        }
        #expect(try await service.runs(RunFilter(runID: "same-key")).elements.count == 2)
        try await service.close()
    }

    @Test func anIPv4AddressWithinIPv6IsTheSameAgent() async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(dataFolder: folder.url)
        let id = try await service.agentID(atAddress: "192.0.2.1")
        #expect(try await service.agentID(atAddress: "::ffff:192.0.2.1") == id)
        #expect(try await service.agentID(atAddress: "::ffff:c000") != id)
        try await service.close()
    }

    @Test func fiftyFirstRequestsOfOneAddressRegisterOneAgent() async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(dataFolder: folder.url)
        let ids = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<50 { group.addTask { try await service.agentID(atAddress: "192.0.2.1") } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(ids.count == 1)
        #expect(try await service.agents().elements.count == 1)
        try await service.close()
    }

    @Test func whenAnAgentWasSeenIsWrittenDownEveryHalfMinuteAlsoWhenTheClockIsSetBack()
        async throws
    {
        let folder = try TemporaryFolder()
        let start = Date(timeIntervalSince1970: 1_800_000_000)
        let clock = Mutex(start)
        let service = try await BackendService.open(dataFolder: folder.url, now: { clock.withLock { $0 } })
        for (seconds, expected) in [(0.0, 0.0), (29, 0), (31, 31), (-3600, -3600)] {
            clock.withLock { $0 = start + seconds }
            let id = try await service.agentID(atAddress: "192.0.2.1")
            #expect(try await service.agent(id).lastSeenAt == start + expected)
        }
        try await service.close()
    }

    @Test func manyTasksAreCreatedAllOrNone() async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(dataFolder: folder.url)
        try await service.seed(from: QuickstartSeed.folder)
        let good = NewTask(agentID: QuickstartSeed.agentID, command: "\(QuickstartSeed.pluginID).greet")
        let bad = NewTask(agentID: QuickstartSeed.agentID, command: "nope")
        await #expect(throws: ReferenceBackendError.self) { try await service.createTasks([good, bad]) }
        #expect(try await service.taskDocuments(for: QuickstartSeed.agentID).count == 2)
        let created = try await service.createTasks(Array(repeating: good, count: 1000))
        let listed = try await service.taskDocuments(for: QuickstartSeed.agentID)
        #expect(listed.dropFirst(2) == created.map(\.document)[...])
        try await service.close()
    }

    @Test func whatIsStoredIsThereAfterARestart() async throws {
        let folder = try TemporaryFolder()
        let result = TaskResult(
            data: "4", runID: "run-1", status: .timedOut,
            error: RunError(code: "c", type: nil, message: "m\u{0}", traceback: nil), stdout: "o",
            startedAt: Date(timeIntervalSince1970: 1_800_000_000.125), durationMilliseconds: 1.5)
        var service = try await BackendService.open(dataFolder: folder.url)
        try await service.seed(from: QuickstartSeed.folder)
        let stored = try await service.store(result, ofTask: QuickstartSeed.squareTask, from: QuickstartSeed.agentID)
        try await service.close()

        service = try await BackendService.open(dataFolder: folder.url)
        let run = try await service.run(stored.run.id)
        #expect(run.result == result)
        let again = try await service.store(result, ofTask: QuickstartSeed.squareTask, from: QuickstartSeed.agentID)
        guard case .repeated = again else {
            Issue.record("stored twice")
            return
        }
        try await service.close()
    }

    @Test func folderAndFilesAreClosedToOthers() async throws {
        let parent = try TemporaryFolder()
        let folder = parent.url.appending(path: "new/data")
        let service = try await BackendService.open(dataFolder: folder)
        _ = try await service.createAdministrationToken()
        func mode(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
        #expect(try mode(folder.path) == 0o700)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(Set(files).isSuperset(of: ["backend.sqlite", "backend.sqlite-wal"]))
        for file in files { #expect(try mode(folder.path + "/" + file) == 0o600, "\(file)") }
        try await service.close()

        // Ours already: closed again.
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
        try await BackendService.open(dataFolder: folder).close()
        #expect(try mode(folder.path) == 0o700)
    }

    @Test func somebodyElsesOpenFolderIsRefusedAndLeftAsItIs() async throws {
        let folder = try TemporaryFolder()
        try Data().write(to: folder.url.appending(path: "thesis.txt"))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
        let error = try #require(
            await #expect(throws: ReferenceBackendError.self) { try await BackendService.open(dataFolder: folder.url) })
        #expect(error.code == "backend.storage")
        #expect(error.message.contains(folder.path))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["thesis.txt"])
    }

    @Test func aFileThatIsNoDatabaseIsRefusedByName() async throws {
        let folder = try TemporaryFolder()
        let file = folder.url.appending(path: "backend.sqlite")
        let text = Data(String(repeating: "not a database. ", count: 100).utf8)
        try text.write(to: file)
        let error = try #require(
            await #expect(throws: ReferenceBackendError.self) { try await BackendService.open(dataFolder: folder.url) })
        #expect(error.code == "backend.storage")
        #expect(error.message.contains("backend.sqlite"))
        #expect(try Data(contentsOf: file) == text)
    }
}
