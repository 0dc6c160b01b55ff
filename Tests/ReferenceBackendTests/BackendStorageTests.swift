import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import GRDB
import ReferenceBackend
import Testing

/// Where the database comes from, who may use it, and what is stored in it for good.
@Suite struct BackendStorageTests {
    @Test func aFolderWithoutADatabaseIsRefusedUnlessOneIsToBeMade() async throws {
        let folder = try TemporaryFolder()
        for path in [folder.path("absent"), folder.path] {
            let error = await #expect(throws: ReferenceBackendError.self) {
                try await BackendService.open(dataFolder: URL(filePath: path), creation: .never)
            }
            #expect(error?.code == "backend.not_initialized")
            #expect(error?.message.contains(path) == true)
            #expect(error?.message.contains("--init") == true)
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        // What a creation left that was cut off.
        try Data().write(to: folder.url.appending(path: "backend.sqlite"))
        await #expect(throws: ReferenceBackendError.notInitialized(folder: folder.path)) {
            try await BackendService.open(dataFolder: folder.url, creation: .never)
        }
        try await BackendService.open(dataFolder: folder.url, creation: .onlyNew).close()
        await #expect(throws: ReferenceBackendError.alreadyInitialized(folder: folder.path)) {
            try await BackendService.open(dataFolder: folder.url, creation: .onlyNew)
        }
        try await BackendService.open(dataFolder: folder.url, creation: .never).close()
    }

    @Test func serveMakesADatabaseWithInitOnlyAndNeverInPlaceOfAnother() async throws {
        let folder = try TemporaryFolder()
        let data = folder.path("data")
        let missing = try await CommandResult.of("serve", "--listen", "127.0.0.1:0", "--data", data)
        #expect(missing.status == 1)
        #expect(missing.errors.contains("backend.not_initialized") && missing.errors.contains(data))
        #expect(!FileManager.default.fileExists(atPath: data))

        let broken = try await CommandResult.of(
            "serve", "--init", "--listen", "127.0.0.1:0", "--data", data, "--seed", folder.path("absent"))
        #expect(broken.errors.contains("backend.invalid_seed"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: data).isEmpty)

        try await BackendService.open(dataFolder: URL(filePath: data)).close()
        let again = try await CommandResult.of("serve", "--init", "--listen", "127.0.0.1:0", "--data", data)
        #expect(again.status == 1)
        #expect(again.errors.contains("backend.already_initialized") && again.errors.contains(data))
    }

    @Test func theBackendsIdIsMadeWithItsDatabaseKeptByARestartAndToldToAgents() async throws {
        let folder = try TemporaryFolder()
        let first = try await BackendService.open(dataFolder: folder.url)
        let agent = try await first.agentID(atAddress: "127.0.0.1")
        #expect(!first.id.isEmpty)
        #expect(try await first.agentDocument(for: agent).backendID == first.id)
        try await first.close()
        let again = try await BackendService.open(dataFolder: folder.url)
        #expect(again.id == first.id)
        try await again.close()
        let other = try TemporaryFolder()
        let another = try await BackendService.open(dataFolder: other.url)
        #expect(another.id != first.id)
        try await another.close()
        try await LiveBackend.withLiveBackend { backend in
            let answer = try await TestClient(backend).get("/api/agent")
            #expect(answer.data["backend_id"].string == backend.service.id)
        }
    }

    @Test func aFolderHasOneServerAndCommandsBesideIt() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let data = backend.dataFolder.path
            let second = try await CommandResult.of("serve", "--listen", "127.0.0.1:0", "--data", data)
            #expect(second.status == 1)
            #expect(second.errors.contains("backend.folder_in_use") && second.errors.contains(data))
            #expect(try await CommandResult.of("token", "reset", "--data", data).status == 0)
            #expect(try await TestClient(backend).get("/healthz").status == 200)
        }
    }

    @Test func aDatabaseOfALaterVersionIsRefusedAndLeftAsItIs() async throws {
        let folder = try TemporaryFolder()
        try await BackendService.open(dataFolder: folder.url).close()
        let file = folder.path("backend.sqlite")
        let database = try DatabaseQueue(path: file)
        try await database.write {
            try $0.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('1000: of the future')")
        }
        try database.close()
        await #expect(throws: ReferenceBackendError.laterVersion(path: file)) {
            try await BackendService.open(dataFolder: folder.url, creation: .never)
        }
        let result = try await CommandResult.of("serve", "--listen", "127.0.0.1:0", "--data", folder.path)
        #expect(result.status == 1)
        #expect(result.errors.contains("backend.later_version"))
    }

    @Test func aCopyOfTheDatabasesFileAloneIsWholeAfterTheServersEnd() async throws {
        let folder = try TemporaryFolder()
        let data = URL(filePath: folder.path("data"))
        let seeded = try await BackendService.open(dataFolder: data)
        try await seeded.seed(from: QuickstartSeed.folder)
        try await seeded.close()
        let process = try BackendProcess(["serve", "--auth", "none", "--listen", "127.0.0.1:0", "--data", data.path])
        let line = try #require(await process.lines.first { $0.hasPrefix("runbook-backend listens on ") })
        let url = try #require(line.split(separator: " ").last)
        let client = try HTTPClient()
        for number in 0..<50 {
            let stored = try await client.send(
                HTTPRequest(
                    method: .post, url: try HTTPURL("\(url)/api/agent/task/\(QuickstartSeed.squareTask)"),
                    headers: [HTTPHeader(name: "Content-Type", value: "application/json")],
                    body: Data(#"{"data": "x", "run_id": "run-\#(number)"}"#.utf8)))
            #expect(stored.status == 201)
        }
        // One that reads beside the server: its end must not depend on being the last.
        let reader = try await BackendService.open(dataFolder: data)
        _ = try await reader.runs()
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 0)

        let copy = try TemporaryFolder()
        try FileManager.default.copyItem(
            at: data.appending(path: "backend.sqlite"), to: copy.url.appending(path: "backend.sqlite"))
        try await reader.close()
        let service = try await BackendService.open(dataFolder: copy.url, creation: .never)
        #expect(try await service.runCount(ofTask: QuickstartSeed.squareTask) == 50)
        try await service.close()
    }

    @Test(arguments: ["folder", "database", "log", "replaced"])
    func nothingIsAcknowledgedOnceItsFilesAreGone(gone: String) async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let client = try TestClient(backend)
            let path = "/api/agent/task/\(QuickstartSeed.squareTask)"
            #expect(try await client.send(.post, path, json: ["data": "x", "run_id": "1"]).status == 201)
            #expect(try await client.get("/healthz").status == 200)
            let files = FileManager.default
            let database = backend.dataFolder.appending(path: "backend.sqlite")
            switch gone {
            case "folder": try files.removeItem(at: backend.dataFolder)
            case "database": try files.removeItem(at: database)
            case "log": try files.removeItem(atPath: database.path + "-wal")
            default:
                try files.moveItem(at: database, to: backend.dataFolder.appending(path: "aside"))
                try files.copyItem(at: backend.dataFolder.appending(path: "aside"), to: database)
            }
            let health = try await client.get("/healthz")
            #expect(health.status == 503)
            #expect(health.errorCode == "backend.storage_gone")
            #expect(!health.errorMessage.contains(backend.dataFolder.path))
            let refused = try await client.send(.post, path, json: ["data": "x", "run_id": "2"])
            #expect(refused.status == 503)
            #expect(refused.errorCode == "backend.storage_gone")
            #expect(try await backend.service.runs(RunFilter(runID: "2")).elements.isEmpty)
        }
    }
}
