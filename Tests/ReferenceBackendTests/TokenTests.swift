import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// What access and refresh tokens are good for, and when they end.
@Suite struct TokenTests {
    @Test func everyRouteOfAgentsWantsAToken() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, authentication: .device) { backend in
            let client = try TestClient(backend)
            let routes: [(HTTPMethod, String)] = [
                (.get, "/api/agent"), (.get, "/api/agent/tasks"),
                (.get, "/api/agent/plugin/\(QuickstartSeed.pluginID)"),
                (.post, "/api/agent/task/\(QuickstartSeed.greetTask)"),
            ]
            for (method, path) in routes {
                let missing = try await client.send(method, path, json: method == .post ? ["data": "x"] : nil)
                #expect(missing.status == 401, "\(path)")
                #expect(missing.errorCode == "agent.unauthorized")
                #expect(missing.response.header("WWW-Authenticate") == "Bearer")
                let wrong = try await client.send(
                    method, path, json: method == .post ? ["data": "x"] : nil,
                    headers: ["Authorization": "Bearer \(backend.administrationToken)"])
                #expect(wrong.status == 401, "\(path)")
                #expect(wrong.response.header("WWW-Authenticate") == #"Bearer error="invalid_token""#)
            }
            #expect(try await backend.service.runs(RunFilter()).elements.isEmpty)
        }
    }

    @Test func twoLoginsAreTwoAgentsThatSeeNothingOfEachOther() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let first = try await client.logIn(as: .existing(id: QuickstartSeed.agentID))
            let second = try await client.logIn()
            let path = "/api/agent/task/\(QuickstartSeed.greetTask)"
            let foreign = try await client.http.send(
                .post, path, json: ["data": "x"], headers: ["Authorization": "Bearer \(second.access)"])
            #expect(foreign.status == 404)
            let own = try await client.http.send(
                .post, path, json: ["data": "x"], headers: ["Authorization": "Bearer \(first.access)"])
            #expect(own.status == 201)
        }
    }

    @Test func anAccessTokenEndsWithItsTimeAndARefreshGivesAnother() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await LiveBackend.withLiveBackend(authentication: .device, now: { clock.now }) { backend in
            let client = try DeviceClient(backend)
            let tokens = try await client.logIn()
            clock.advance(by: 3599)
            #expect(try await client.agent(tokens.access).status == 200)
            clock.advance(by: 1)
            #expect(try await client.agent(tokens.access).status == 401)
            let answer = try await client.refresh(tokens.refresh)
            #expect(answer.json["expires_in"] == 3600)
            let fresh = try DeviceClient.tokens(of: answer)
            #expect(fresh.refresh != tokens.refresh)
            #expect(try await client.agent(fresh.access).status == 200)
            clock.advance(by: 90 * 86400)
            try await client.refresh(fresh.refresh).expectOAuthError("invalid_grant")
        }
    }

    @Test func aRefreshTokenThatIsUsedAgainAfterItsSuccessorWasEndsItsLoginAndNoOther() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let other = try await client.logIn()
            let first = try await client.logIn()
            let second = try DeviceClient.tokens(of: try await client.refresh(first.refresh))
            #expect(try await client.agent(first.access).status == 200)
            #expect(try await client.agent(second.access).status == 200)
            try await client.refresh(first.refresh).expectOAuthError("invalid_grant")
            #expect(try await client.agent(first.access).status == 401)
            #expect(try await client.agent(second.access).status == 401)
            try await client.refresh(second.refresh).expectOAuthError("invalid_grant")
            #expect(try await client.agent(other.access).status == 200)
            _ = try DeviceClient.tokens(of: try await client.refresh(other.refresh))
        }
    }

    @Test func aRefreshWhoseAnswerWasLostIsDoneAgainAndWhatGotLostIsGoodForNothing() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await LiveBackend.withLiveBackend(authentication: .device, now: { clock.now }) { backend in
            let client = try DeviceClient(backend)
            let first = try await client.logIn()
            let lost = try DeviceClient.tokens(of: try await client.refresh(first.refresh))
            // However late: an agent may have been off meanwhile.
            clock.advance(by: 2 * 86400)
            let second = try DeviceClient.tokens(of: try await client.refresh(first.refresh))
            #expect(try await client.agent(lost.access).status == 401)
            #expect(try await client.agent(second.access).status == 200)
            let third = try DeviceClient.tokens(of: try await client.refresh(second.refresh))
            #expect(try await client.agent(third.access).status == 200)
            // Somebody got it after all.
            try await client.refresh(lost.refresh).expectOAuthError("invalid_grant")
            #expect(try await client.agent(third.access).status == 401)
            try await client.refresh(third.refresh).expectOAuthError("invalid_grant")
        }
    }

    @Test func thatASuccessorWasUsedIsRememberedLongerThanItsAccessToken() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await LiveBackend.withLiveBackend(authentication: .device, now: { clock.now }) { backend in
            let client = try DeviceClient(backend)
            let first = try await client.logIn()
            let stolen = try DeviceClient.tokens(of: try await client.refresh(first.refresh))
            #expect(try await client.agent(stolen.access).status == 200)
            clock.advance(by: 86400)
            // Of another login, so that expired tokens are removed.
            _ = try await client.refresh(try await client.logIn().refresh)
            try await client.refresh(first.refresh).expectOAuthError("invalid_grant")
            try await client.refresh(stolen.refresh).expectOAuthError("invalid_grant")
        }
    }

    @Test func ofRefreshesAtTheSameTimeOneBringsTokensThatAreGood() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let token = try await client.logIn().refresh
            let answers = try await withThrowingTaskGroup(of: DeviceClient.Tokens.self) { group in
                for _ in 0..<8 { group.addTask { try DeviceClient.tokens(of: try await client.refresh(token)) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            var statuses: [Int] = []
            for tokens in answers { statuses.append(try await client.agent(tokens.access).status) }
            #expect(statuses.count { $0 == 200 } == 1)
            #expect(statuses.count { $0 == 401 } == 7)
        }
    }

    @Test func aRefreshIsForItsOwnClientAndForNoWiderScope() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let token = try await client.logIn().refresh
            try await DeviceClient(backend, clientID: "thief").refresh(token).expectOAuthError("invalid_grant")
            try await client.refresh(token, [("scope", "agent admin")]).expectOAuthError("invalid_scope")
            // Neither attempt used it up.
            #expect(try await client.refresh(token, [("scope", "agent")]).json["scope"] == "agent")
        }
    }

    @Test func aClientThatIsLetInNoMoreNeitherRefreshesNorRevokesNamedOrNot() async throws {
        let folder = try TemporaryFolder()
        let before = try await BackendService.open(dataFolder: folder.url)
        let codes = try await before.beginLogin(clientID: "old", scope: "", address: "127.0.0.1")
        _ = try await before.approveLogin("\(codes.userCode)", as: .new(name: nil))
        let tokens = try await before.redeem(deviceCode: codes.deviceCode, clientID: "old")
        try await before.close()
        let service = try await BackendService.open(
            dataFolder: folder.url, login: LoginConfiguration(clientIDs: ["new"]))
        for name in [nil, "old"] {
            let refresh = await #expect(throws: OAuthError.self) {
                try await service.refresh(tokens.refreshToken, clientID: name)
            }
            #expect(refresh?.code == .invalidClient)
            let revocation = await #expect(throws: OAuthError.self) {
                try await service.revoke(tokens.refreshToken, clientID: name)
            }
            #expect(revocation?.code == .invalidClient)
        }
        try await service.close()
        // Neither attempt has cost the login anything.
        let again = try await BackendService.open(dataFolder: folder.url)
        _ = try await again.refresh(tokens.refreshToken, clientID: nil)
        try await again.close()
    }

    @Test func anAccessTokenDoesntRefreshAndARefreshTokenOpensNothing() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let tokens = try await client.logIn()
            try await client.refresh(tokens.access).expectOAuthError("invalid_grant")
            #expect(try await client.agent(tokens.refresh).status == 401)
        }
    }

    @Test func revokingARefreshTokenEndsItsLoginAnAccessTokenItself() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let tokens = try await client.logIn()
            let revoked = try await client.post(
                "/oauth/revoke", [("token", tokens.access), ("client_id", "test-client")])
            #expect(revoked.status == 200)
            #expect(revoked.response.header("Cache-Control") == "no-store")
            #expect(try await client.agent(tokens.access).status == 401)
            let fresh = try DeviceClient.tokens(of: try await client.refresh(tokens.refresh))
            let foreign = try await client.post("/oauth/revoke", [("token", fresh.refresh), ("client_id", "thief")])
            foreign.expectOAuthError("invalid_grant")
            #expect(try await client.agent(fresh.access).status == 200)
            for token in [fresh.refresh, fresh.refresh, "unknown"] {
                let answer = try await client.post(
                    "/oauth/revoke", [("token", token), ("token_type_hint", "refresh_token")])
                #expect(answer.status == 200)
            }
            #expect(try await client.agent(fresh.access).status == 401)
            try await client.refresh(fresh.refresh).expectOAuthError("invalid_grant")
        }
    }

    @Test func whoDeletesAnAgentOrEndsItsLoginsTakesItsTokensAway() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let tokens = try await client.logIn(as: .new(name: "Kitchen"))
            let id = try #require(try await client.agent(tokens.access).data["id"].string)
            #expect(try await client.http.administer(.delete, "/agents/\(id)/tokens").status == 204)
            #expect(try await client.agent(tokens.access).status == 401)
            let again = try await client.logIn(as: .existing(id: id))
            let waiting = try await client.begin()
            _ = try await backend.service.approveLogin(waiting.userCode, as: .existing(id: id))
            #expect(try await client.http.administer(.delete, "/agents/\(id)").status == 204)
            #expect(try await client.agent(again.access).status == 401)
            try await client.refresh(again.refresh).expectOAuthError("invalid_grant")
            try await client.poll(waiting).expectOAuthError("access_denied")
            #expect(try await backend.service.agents().elements.isEmpty)
        }
    }

    @Test func noSecretsTextIsInTheDataFolder() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let codes = try await client.begin()
            _ = try await backend.service.approveLogin(codes.userCode, as: .new(name: nil))
            let tokens = try DeviceClient.tokens(of: try await client.poll(codes))
            let files = try FileManager.default.contentsOfDirectory(
                at: backend.dataFolder, includingPropertiesForKeys: nil)
            let all = try files.reduce(into: Data()) { $0 += try Data(contentsOf: $1) }
            #expect(all.range(of: Data("test-client".utf8)) != nil)
            for secret in [codes.deviceCode, tokens.access, tokens.refresh] {
                #expect(all.range(of: Data(secret.utf8.dropFirst(4))) == nil)
            }
        }
    }
}
