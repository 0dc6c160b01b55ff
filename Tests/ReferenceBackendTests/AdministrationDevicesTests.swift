import AgentModel
import AgentTestSupport
import BackendClient
import ReferenceBackend
import Testing

/// `/admin/api/devices`.
@Suite struct AdministrationDevicesTests {
    @Test func loginsAreListedApprovedAndDenied() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let first = try await client.begin()
            let second = try await client.begin()
            let list = try await client.http.administer(.get, "/devices")
            #expect(list.data.elements.map { $0["user_code"].string } == [first.userCode, second.userCode])
            #expect(list.data[0]["client_id"] == "test-client")
            #expect(list.data[0]["state"] == "pending")
            #expect(list.data[0]["address"] == "127.0.0.1")
            let approved = try await client.http.administer(
                .post, "/devices/\(first.userCode.lowercased())/approve", json: ["name": "Kitchen"])
            #expect(approved.status == 200)
            #expect(approved.data["name"] == "Kitchen")
            let again = try await client.http.administer(.post, "/devices/\(first.userCode)/deny")
            #expect(again.status == 409)
            #expect(again.errorCode == "device.already_decided")
            #expect(try await client.http.administer(.post, "/devices/\(second.userCode)/deny").status == 200)
            #expect(try await client.http.administer(.get, "/devices").data.elements.count == 1)
            let tokens = try DeviceClient.tokens(of: try await client.poll(first))
            #expect(try await client.agent(tokens.access).data["id"] == approved.data["id"])
            try await client.poll(second).expectOAuthError("access_denied")
        }
    }

    @Test func whatIsWrongIsNamed() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let codes = try await client.begin()
            let path = "/devices/\(codes.userCode)/approve"
            let unknown = try await client.http.administer(.post, "/devices/BBBB-BBBB/approve", json: [:])
            #expect(unknown.status == 404)
            #expect(unknown.errorCode == "device.not_found")
            let agent = try await client.http.administer(.post, path, json: ["agent_id": "nope"])
            #expect(agent.errorCode == "agent.not_found")
            #expect(try await client.http.administer(.post, path, json: ["agent": "x"]).errorField == "agent")
            #expect(try await client.http.administer(.post, path, json: ["name": "a\nb"]).errorField == "name")
            #expect(try await client.http.send(.post, "/admin/api" + path, json: [:]).status == 401)
            #expect(try await backend.service.pendingLogin(codes.userCode).state == .pending)
        }
    }
}
