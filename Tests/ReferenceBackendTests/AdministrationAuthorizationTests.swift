import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// Who may use `/admin/api`, and what is kept of the token.
@Suite struct AdministrationAuthorizationTests {
    private static let routes: [(HTTPMethod, String)] = [
        (.get, "/agents"), (.get, "/agents/x"), (.patch, "/agents/x"), (.delete, "/agents/x"),
        (.put, "/agents/x/plugins/y"), (.delete, "/agents/x/plugins/y"), (.get, "/plugins"), (.get, "/plugins/x"),
        (.post, "/plugins"), (.get, "/tasks"), (.get, "/tasks/x"), (.post, "/tasks"), (.patch, "/tasks/x"),
        (.delete, "/tasks/x"), (.get, "/runs"), (.get, "/runs/x"), (.delete, "/agents/x/tokens"), (.get, "/devices"),
        (.post, "/devices/x/approve"), (.post, "/devices/x/deny"),
    ]

    @Test func everyRouteIsRefusedWithoutTheToken() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            for (method, path) in Self.routes {
                let answer = try await client.send(method, "/admin/api" + path)
                #expect(answer.status == 401, "\(method) \(path)")
                #expect(answer.errorCode == "administration.unauthorized", "\(method) \(path)")
                #expect(answer.response.header("WWW-Authenticate") == "Bearer")
            }
        }
    }

    @Test func onlyTheWholeTokenInABearerHeaderWillDo() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let token = backend.administrationToken
            let wrong = [
                "Bearer ", "Bearer \(token.dropLast())", "Bearer \(token)0", "Bearer \(token.uppercased())",
                "Basic \(token)", token, "Bearer \(String(repeating: "0", count: 100_00))",
            ]
            for value in wrong {
                let answer = try await client.get("/admin/api/agents", headers: ["Authorization": value])
                #expect(answer.status == 401, "\(value.prefix(20))")
            }
            let right = try await client.get("/admin/api/agents", headers: ["authorization": "bearer  \(token)"])
            #expect(right.status == 200)
        }
    }

    @Test func theTokensTextIsNowhereInTheDataFolder() async throws {
        try await LiveBackend.withLiveBackend { backend in
            #expect(try await TestClient(backend).administer(.get, "/agents").status == 200)
            let token = Data(backend.administrationToken.utf8)
            let secret = token.dropFirst("rba_".count)
            let files = try FileManager.default.contentsOfDirectory(
                at: backend.dataFolder, includingPropertiesForKeys: nil)
            #expect(files.contains { $0.lastPathComponent == "backend.sqlite" })
            for file in files {
                let bytes = try Data(contentsOf: file)
                #expect(bytes.range(of: secret) == nil, "\(file.lastPathComponent)")
            }
        }
    }

    @Test func aResetRefusesTheOldTokenAtOnce() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let new = try await backend.service.resetAdministrationToken()
            #expect(new != backend.administrationToken)
            #expect(try await client.administer(.get, "/agents").status == 401)
            let answer = try await client.get("/admin/api/agents", headers: ["Authorization": "Bearer \(new)"])
            #expect(answer.status == 200)
        }
    }

    @Test func aTokenIsMadeAtTheFirstStartOnly() async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(dataFolder: folder.url)
        let token = try #require(try await service.createAdministrationToken())
        #expect(try await service.createAdministrationToken() == nil)
        try await service.close()

        let again = try await BackendService.open(dataFolder: folder.url)
        #expect(try await again.createAdministrationToken() == nil)
        #expect(try await again.isAdministrationToken(token))
        #expect(try await again.isAdministrationToken("") == false)
        try await again.close()
    }
}
