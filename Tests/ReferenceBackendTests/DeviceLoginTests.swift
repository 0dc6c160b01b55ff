import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// `/oauth/device/code`, and polling until there are tokens (RFC 8628).
@Suite struct DeviceLoginTests {
    @Test func codesComeAsTheRFCWritesThem() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let answer = try await client.post("/oauth/device/code", [("client_id", "abc"), ("scope", "a b")])
            #expect(answer.status == 200)
            #expect(answer.response.header("Cache-Control") == "no-store")
            let code = try #require(answer.json["user_code"].string)
            #expect(code.wholeMatch(of: /[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}/) != nil, "\(code)")
            #expect(answer.json["verification_uri"] == .string("\(backend.url)/device"))
            #expect(answer.json["verification_uri_complete"] == .string("\(backend.url)/device?user_code=\(code)"))
            #expect(answer.json["expires_in"] == 600)
            #expect(answer.json["interval"] == 5)
            #expect((answer.json["device_code"].string?.count ?? 0) >= 64)
        }
    }

    @Test func thePublicAddressStandsInTheLinksWhateverTheRequestSays() async throws {
        let login = LoginConfiguration(publicOrigin: try WebOrigin("https://backend.example.com"))
        try await LiveBackend.withLiveBackend(authentication: .device, login: login) { backend in
            let answer = try await DeviceClient(backend).post("/oauth/device/code", [("client_id", "abc")])
            #expect(answer.json["verification_uri"] == "https://backend.example.com/device")
        }
    }

    @Test(arguments: [
        ("kitchen.example", "kitchen.example"), ("a\u{1B}[31m", nil), ("two words", nil), ("", nil),
        (String(repeating: "x", count: 254), nil),
    ])
    func theNameThatAHostGivesItselfIsShownToWhoDecides(_ sent: String, _ shown: String?) async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let answer = try await DeviceClient(backend).post(
                "/oauth/device/code", [("client_id", "abc"), ("host_name", sent)])
            // A login doesn't fail for a name.
            #expect(answer.status == 200)
            let logins = try await backend.service.deviceLogins()
            #expect(logins.elements.map(\.hostName) == [shown])
        }
    }

    struct BadRequest: Sendable, CustomTestStringConvertible {
        var name: String
        var path = "/oauth/token"
        var body: String
        var type = "application/x-www-form-urlencoded"
        var error = "invalid_request"
        var status = 400
        var testDescription: String { name }
    }

    private static let poll = "grant_type=\(DeviceClient.grantType)"

    @Test(arguments: [
        BadRequest(name: "code without client", path: "/oauth/device/code", body: "scope=x"),
        BadRequest(name: "code with empty client", path: "/oauth/device/code", body: "client_id=&scope=x"),
        BadRequest(name: "code with client twice", path: "/oauth/device/code", body: "client_id=a&client_id=a"),
        BadRequest(name: "code with a line feed", path: "/oauth/device/code", body: "client_id=a%0Ab"),
        BadRequest(name: "code with NUL", path: "/oauth/device/code", body: "client_id=a%00"),
        BadRequest(name: "code with broken encoding", path: "/oauth/device/code", body: "client_id=%zz"),
        BadRequest(name: "code in JSON", path: "/oauth/device/code", body: "{}", type: "application/json"),
        BadRequest(
            name: "code with a bad scope", path: "/oauth/device/code", body: "client_id=a&scope=%22",
            error: "invalid_scope"),
        BadRequest(
            name: "body of 70 kB", path: "/oauth/device/code",
            body: "client_id=a&x=" + String(repeating: "x", count: 70_000), status: 413),
        BadRequest(name: "no body", body: ""),
        BadRequest(name: "unknown grant", body: "grant_type=password&client_id=a", error: "unsupported_grant_type"),
        BadRequest(name: "grant twice", body: "\(poll)&\(poll)&client_id=a&device_code=b"),
        BadRequest(name: "poll without client", body: "\(poll)&device_code=b"),
        BadRequest(name: "poll without code", body: "\(poll)&client_id=a"),
        BadRequest(name: "poll with unknown code", body: "\(poll)&client_id=a&device_code=b", error: "invalid_grant"),
        BadRequest(name: "refresh without token", body: "grant_type=refresh_token&client_id=a"),
        BadRequest(
            name: "refresh with unknown token", body: "grant_type=refresh_token&client_id=a&refresh_token=b",
            error: "invalid_grant"),
        BadRequest(name: "revocation without token", path: "/oauth/revoke", body: "client_id=a"),
    ])
    func aBadRequestIsToldWhatIsWrong(bad: BadRequest) async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let answer = try await DeviceClient(backend).post(
                bad.path, text: bad.body, headers: ["Content-Type": bad.type])
            answer.expectOAuthError(bad.error, status: bad.status)
        }
    }

    @Test func anUnknownClientAndOneWithAPasswordAreRefused() async throws {
        let login = LoginConfiguration(clientIDs: ["known"])
        try await LiveBackend.withLiveBackend(authentication: .device, login: login) { backend in
            _ = try await DeviceClient(backend, clientID: "known").begin()
            let client = try DeviceClient(backend)
            let unknown = try await client.post("/oauth/device/code", [("client_id", "unknown")])
            unknown.expectOAuthError("invalid_client", status: 401)
            let secret = try await client.post(
                "/oauth/device/code", text: "client_id=known", headers: ["Authorization": "Basic a25vd246eA=="])
            secret.expectOAuthError("invalid_client", status: 401)
            #expect(secret.response.header("WWW-Authenticate")?.hasPrefix("Basic") == true)
        }
    }

    @Test func pollingTooFastIsSlowedDownForGood() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await LiveBackend.withLiveBackend(authentication: .device, now: { clock.now }) { backend in
            let client = try DeviceClient(backend)
            let codes = try await client.begin()
            try await client.poll(codes).expectOAuthError("authorization_pending")
            clock.advance(by: 5)
            try await client.poll(codes).expectOAuthError("authorization_pending")
            clock.advance(by: 4)
            let slowed = try await client.poll(codes)
            slowed.expectOAuthError("slow_down")
            #expect(slowed.json["interval"] == 10)
            clock.advance(by: 8)
            #expect(try await client.poll(codes).json["interval"] == 15)
            clock.advance(by: 15)
            try await client.poll(codes).expectOAuthError("authorization_pending")
            clock.advance(by: -100)
            try await client.poll(codes).expectOAuthError("authorization_pending")
        }
    }

    @Test func anApprovedLoginGivesTokensOnceAndTheyOpenTheAgentsRoutes() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let codes = try await client.begin()
            let agent = try await backend.service.approveLogin(codes.userCode, as: .new(name: "Kitchen"))
            let answer = try await client.poll(codes)
            #expect(answer.response.header("Cache-Control") == "no-store")
            #expect(answer.json["token_type"] == "Bearer")
            #expect(answer.json["expires_in"] == 3600)
            #expect(answer.json["scope"] == "agent")
            let tokens = try DeviceClient.tokens(of: answer)
            let me = try await client.agent(tokens.access)
            #expect(me.data["id"] == .string(agent.id))
            #expect(me.data["name"] == "Kitchen")
            #expect(try await backend.service.agent(agent.id).lastSeenAt != nil)
            try await client.poll(codes).expectOAuthError("invalid_grant")
        }
    }

    @Test func anotherClientCantUseTheCode() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let codes = try await client.begin()
            _ = try await backend.service.approveLogin(codes.userCode, as: .new(name: nil))
            try await DeviceClient(backend, clientID: "thief").poll(codes).expectOAuthError("invalid_grant")
            _ = try DeviceClient.tokens(of: try await client.poll(codes))
        }
    }

    @Test func aDeniedLoginAndOneThatExpiredSaySo() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await LiveBackend.withLiveBackend(authentication: .device, now: { clock.now }) { backend in
            let client = try DeviceClient(backend)
            let denied = try await client.begin()
            let late = try await client.begin()
            let approved = try await client.begin()
            try await backend.service.denyLogin(denied.userCode)
            _ = try await backend.service.approveLogin(approved.userCode, as: .new(name: nil))
            try await client.poll(denied).expectOAuthError("access_denied")
            clock.advance(by: 600)
            try await client.poll(late).expectOAuthError("expired_token")
            clock.advance(by: 60)
            try await client.poll(approved).expectOAuthError("expired_token")
            await #expect(throws: ReferenceBackendError.notPending(userCode: late.userCode, state: .expired)) {
                try await backend.service.approveLogin(late.userCode, as: .new(name: nil))
            }
            await #expect(throws: ReferenceBackendError.notPending(userCode: denied.userCode, state: .denied)) {
                try await backend.service.approveLogin(denied.userCode, as: .new(name: nil))
            }
            // What nobody asks for any more is forgotten with the next login.
            clock.advance(by: 3540)
            _ = try await client.begin()
            try await client.poll(late).expectOAuthError("invalid_grant")
        }
    }

    @Test func aLoginApprovedAtTheLastMomentCanBeTakenUpShortlyAfterTheEndOfItsCode() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await LiveBackend.withLiveBackend(authentication: .device, now: { clock.now }) { backend in
            let client = try DeviceClient(backend)
            let codes = try await client.begin()
            clock.advance(by: 599)
            _ = try await backend.service.approveLogin(codes.userCode, as: .new(name: nil))
            clock.advance(by: 6)
            let tokens = try DeviceClient.tokens(of: try await client.poll(codes))
            #expect(try await client.agent(tokens.access).status == 200)
            try await client.poll(codes).expectOAuthError("invalid_grant")
        }
    }

    @Test func aLoginBindsToAnAgentThatIsThereAndMayRenameIt() async throws {
        try await LiveBackend.withLiveBackend(seed: QuickstartSeed.folder, authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let tokens = try await client.logIn(as: .existing(id: QuickstartSeed.agentID))
            #expect(try await client.agent(tokens.access).data["name"] == "Test Agent")
            #expect(try await client.agent(tokens.access).data["plugins"] == [.string(QuickstartSeed.pluginID)])
            _ = try await client.logIn(as: .existing(id: QuickstartSeed.agentID, name: "Renamed"))
            #expect(try await client.agent(tokens.access).data["name"] == "Renamed")
            let codes = try await client.begin()
            await #expect(throws: ReferenceBackendError.notFound(.agent, id: "nope")) {
                try await backend.service.approveLogin(codes.userCode, as: .existing(id: "nope"))
            }
            // The refusal left the code open.
            #expect(try await backend.service.pendingLogin(codes.userCode).state == .pending)
        }
    }

    @Test func aNetworkGetsNoMoreCodesThanItMayUntilTheFirstAreOld() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        let login = LoginConfiguration(maximumCodesPerNetwork: 3)
        try await LiveBackend.withLiveBackend(authentication: .device, login: login, now: { clock.now }) { backend in
            let client = try DeviceClient(backend)
            for _ in 0..<3 {
                try await backend.service.denyLogin(try await client.begin().userCode)
                clock.advance(by: 10)
            }
            let refused = try await client.post("/oauth/device/code", [("client_id", "x")])
            refused.expectOAuthError("temporarily_unavailable", status: 429)
            #expect(refused.response.header("Retry-After") == "570")
            clock.advance(by: 570)
            _ = try await client.begin()
        }
    }

    @Test func theNumberOfCodesThatWaitIsBounded() async throws {
        let login = LoginConfiguration(maximumLiveCodes: 2)
        try await LiveBackend.withLiveBackend(authentication: .device, login: login) { backend in
            let client = try DeviceClient(backend)
            let first = try await client.begin()
            _ = try await client.begin()
            let refused = try await client.post("/oauth/device/code", [("client_id", "x")])
            refused.expectOAuthError("temporarily_unavailable", status: 429)
            try await backend.service.denyLogin(first.userCode)
            _ = try await client.begin()
        }
    }

    @Test func whoTakesAllTheRoomForCodesMakesPlaceForTheOthers() async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(
            dataFolder: folder.url, login: LoginConfiguration(maximumLiveCodes: 4))
        let honest = try await service.beginLogin(clientID: "x", scope: "", address: "192.0.2.1")
        for _ in 0..<3 { _ = try await service.beginLogin(clientID: "x", scope: "", address: "192.0.2.66") }
        await #expect(throws: OAuthError.self) {
            try await service.beginLogin(clientID: "x", scope: "", address: "192.0.2.66")
        }
        _ = try await service.beginLogin(clientID: "x", scope: "", address: "192.0.2.2")
        let addresses = try await service.deviceLogins().elements.map(\.address)
        #expect(addresses == ["192.0.2.1", "192.0.2.66", "192.0.2.66", "192.0.2.2"])
        _ = try await service.pendingLogin("\(honest.userCode)")
        try await service.close()
    }

    @Test(arguments: [
        ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::", true), ("2001:db8:1:2::", "2001:db8:1:3::", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
    ])
    func oneIPv6NetworkIsOnePlace(first: String, second: String, isSame: Bool) async throws {
        let folder = try TemporaryFolder()
        let service = try await BackendService.open(
            dataFolder: folder.url, login: LoginConfiguration(maximumCodesPerNetwork: 1))
        _ = try await service.beginLogin(clientID: "x", scope: "", address: first)
        let second = try? await service.beginLogin(clientID: "x", scope: "", address: second)
        #expect((second == nil) == isSame)
        try await service.close()
    }

    @Test func withoutLoginThereAreNoSuchRoutes() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try DeviceClient(backend)
            for path in ["/oauth/device/code", "/oauth/token", "/oauth/revoke", "/device"] {
                #expect(try await client.post(path, [("client_id", "x")]).errorCode == "route.not_found", "\(path)")
            }
        }
    }
}
