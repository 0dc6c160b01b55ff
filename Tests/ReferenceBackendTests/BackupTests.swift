import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import GRDB
import ReferenceBackend
import Testing

/// `backup` and `restore`, and what becomes of agents and logins.
@Suite struct BackupTests {
    private func commands(_ arguments: [String], data: String) async throws -> CommandResult {
        let process = try BackendProcess(arguments + ["--data", data])
        let output = await process.lines.reduce(into: []) { $0.append($1) }
        return CommandResult(
            status: try await process.exitStatus(), output: output, errors: try process.standardError())
    }

    @Test func aBackupBesideAServerThatStoresIsWholeAndClosedToOthers() async throws {
        let copies = try TemporaryFolder()
        let file = copies.path("copy.sqlite")
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder) { backend in
            let service = backend.service
            func store(_ number: Int) async throws {
                let result = TaskResult(data: String(repeating: "x", count: 5000), runID: "run-\(number)")
                _ = try await service.store(
                    result, ofTask: QuickstartSeed.squareTask, from: QuickstartSeed.agentID)
            }
            for number in 0..<100 { try await store(number) }
            async let more: Void = { for number in 100..<300 { try await store(number) } }()
            let made = try await commands(["backup", file], data: backend.dataFolder.path)
            #expect(made.status == 0, "\(made.errors)")
            try await more

            let again = try await commands(["backup", file], data: backend.dataFolder.path)
            #expect(again.status == 1)
            #expect(again.errors.contains("backend.backup_exists") && again.errors.contains("--force"))
            #expect(try FileManager.default.contentsOfDirectory(atPath: copies.path) == ["copy.sqlite"])
            let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
            #expect(mode == 0o600)

            let folder = try TemporaryFolder()
            let restored = try await commands(["restore", file], data: folder.path)
            #expect(restored.status == 0, "\(restored.errors)")
            let copy = try await BackendService.open(dataFolder: folder.url, creation: .never)
            #expect(copy.id == service.id)
            let count = try await copy.runCount(ofTask: QuickstartSeed.squareTask)
            #expect((100...300).contains(count))
            // Each of them to the end.
            for number in 0..<count {
                #expect(try await copy.runs(RunFilter(runID: "run-\(number)")).elements.count == 1)
            }
            try await copy.close()
            #expect(try await commands(["backup", file, "--force"], data: backend.dataFolder.path).status == 0)
        }
    }

    @Test func aBackupIsRestoredNeitherUnderAServerNorOverADatabaseThatNobodyGaveUp() async throws {
        let copies = try TemporaryFolder()
        let file = copies.path("copy.sqlite")
        let backend = try await LiveBackend.start(seed: QuickstartSeed.folder)
        let data = backend.dataFolder.path
        #expect(try await commands(["backup", file], data: data).status == 0)
        let running = try await commands(["restore", file, "--force"], data: data)
        #expect(running.status == 1)
        #expect(running.errors.contains("backend.folder_in_use"))
        let later = TaskResult(data: "later", runID: "later")
        _ = try await backend.service.store(later, ofTask: QuickstartSeed.squareTask, from: QuickstartSeed.agentID)
        await backend.stop()

        let refused = try await commands(["restore", file], data: data)
        #expect(refused.status == 1)
        #expect(refused.errors.contains("backend.already_initialized"))
        #expect(try await commands(["restore", file, "--force"], data: data).status == 0)
        let service = try await BackendService.open(dataFolder: backend.dataFolder, creation: .never)
        #expect(try await service.runs().elements.isEmpty)
        #expect(service.id == backend.service.id)
        try await service.close()
        // What was there before is not lost.
        let kept = try TemporaryFolder()
        try FileManager.default.copyItem(
            atPath: data + "/backend.sqlite.replaced", toPath: kept.path("backend.sqlite"))
        let before = try await BackendService.open(dataFolder: kept.url, creation: .never)
        #expect(try await before.runs(RunFilter(runID: "later")).elements.count == 1)
        try await before.close()
    }

    @Test func whatIsNoBackupIsRefusedByNameAndLeavesNothing() async throws {
        let folder = try TemporaryFolder()
        let other = try DatabaseQueue(path: folder.path("other.sqlite"))
        try await other.write { try $0.execute(sql: "CREATE TABLE something (x)") }
        try other.close()
        try Data("text".utf8).write(to: folder.url.appending(path: "text"))
        for file in ["other.sqlite", "text", "absent"].map(folder.path) {
            let result = try await commands(["restore", file], data: folder.path("data"))
            #expect(result.status == 1)
            #expect(result.errors.contains("backend.backup_failed") && result.errors.contains(file))
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path("data")))
        let missing = try await commands(["backup", folder.path("x")], data: folder.path("data"))
        #expect(missing.errors.contains("backend.not_initialized"))
    }

    @Test func agentsStayLoggedInWhenABackupIsRestored() async throws {
        let copies = try TemporaryFolder()
        let file = copies.url.appending(path: "copy.sqlite")
        let first = try await LiveBackend.start(authentication: .device)
        let client = try DeviceClient(first)
        let quiet = try await client.logIn()
        let busy = try await client.logIn()
        let stolen = try await client.logIn()
        try DatabaseBackup.make(of: first.dataFolder, into: file)
        let late = try await client.logIn()
        var newest: [DeviceClient.Tokens] = []
        for tokens in [busy, stolen] {
            let second = try DeviceClient.tokens(of: try await client.refresh(tokens.refresh))
            #expect(try await client.agent(second.access).status == 200)
            let third = try DeviceClient.tokens(of: try await client.refresh(second.refresh))
            #expect(try await client.agent(third.access).status == 200)
            newest.append(third)
        }
        await first.stop()
        try DatabaseBackup.restore(file, into: first.dataFolder, replaces: true)

        let second = try await LiveBackend.start(data: first.folder, authentication: .device)
        let host = try DeviceClient(second)
        // Which tokens the backup knows makes no difference.
        _ = try DeviceClient.tokens(of: try await host.refresh(quiet.refresh))
        let renewed = try DeviceClient.tokens(of: try await host.refresh(newest[0].refresh))
        #expect(try await host.agent(renewed.access).status == 200)
        _ = try DeviceClient.tokens(of: try await host.refresh(renewed.refresh))
        // Of a login that came after it, it knows nothing.
        try await host.refresh(late.refresh).expectOAuthError("invalid_grant")
        // A thief is first with an old token, which the backup takes for the newest: the agent's own then ends the login.
        let taken = try DeviceClient.tokens(of: try await host.refresh(stolen.refresh))
        #expect(try await host.agent(taken.access).status == 200)
        try await host.refresh(newest[1].refresh).expectOAuthError("invalid_grant")
        #expect(try await host.agent(taken.access).status == 401)
        await second.stop()
    }

    @Test func anUnknownTokenOfALoginIsBelievedOnceAfterARestorationAndNeverWithoutOne() async throws {
        let copies = try TemporaryFolder()
        let file = copies.url.appending(path: "copy.sqlite")
        let first = try await LiveBackend.start(authentication: .device)
        let client = try DeviceClient(first)
        let tokens = try await client.logIn()
        // Who has had a token of a login can make up others that look alike.
        func madeUp(_ digit: Character) -> String {
            "rbr_" + String(repeating: digit, count: 64) + tokens.refresh.suffix(64)
        }
        try DatabaseBackup.make(of: first.dataFolder, into: file)
        try await client.refresh(madeUp("a")).expectOAuthError("invalid_grant")
        try await client.refresh(tokens.refresh).expectOAuthError("invalid_grant")
        await first.stop()
        try DatabaseBackup.restore(file, into: first.dataFolder, replaces: true)
        let second = try await LiveBackend.start(data: first.folder, authentication: .device)
        let host = try DeviceClient(second)
        let renewed = try DeviceClient.tokens(of: try await host.refresh(madeUp("b")))
        #expect(try await host.agent(renewed.access).status == 200)
        try await host.refresh(madeUp("c")).expectOAuthError("invalid_grant")
        #expect(try await host.agent(renewed.access).status == 401)
        await second.stop()
    }
}
