import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import ReferenceBackend
import Testing

/// `runbook-backend device` beside a running server.
@Suite struct DeviceCommandTests {
    @Test func codesAreListedApprovedAndDeniedWhileTheServerRuns() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let data = backend.dataFolder.path
            let none = try await CommandResult.of("device", "list", "--data", data)
            #expect(none.status == 0)
            #expect(none.output.isEmpty)

            let first = try await client.begin()
            let second = try await client.begin()
            let list = try await CommandResult.of("device", "list", "--data", data)
            #expect(list.output.count == 2)
            #expect(list.output.first?.hasPrefix("\(first.userCode)  pending  from 127.0.0.1") == true)
            let json = try await CommandResult.of("device", "list", "--json", "--data", data)
            let logins = try JSONDecoder().decode(JSONValue.self, from: Data(json.output.joined().utf8))
            #expect(logins.elements.map { $0["user_code"].string } == [first.userCode, second.userCode])

            let typed = first.userCode.lowercased().replacing("-", with: "")
            let approved = try await CommandResult.of("device", "approve", typed, "--name", "Kitchen", "--data", data)
            #expect(approved.status == 0)
            #expect(approved.output.first?.contains("approved \(first.userCode)") == true)
            let tokens = try DeviceClient.tokens(of: try await client.poll(first))
            #expect(try await client.agent(tokens.access).data["name"] == "Kitchen")
            let id = try #require(try await client.agent(tokens.access).data["id"].string)

            #expect(try await CommandResult.of("device", "deny", second.userCode, "--data", data).status == 0)
            try await client.poll(second).expectOAuthError("access_denied")
            let third = try await client.begin()
            let bound = try await CommandResult.of("device", "approve", third.userCode, "--agent", id, "--data", data)
            #expect(bound.output.first?.contains(id) == true)

            let fourth = try await client.begin()
            let joined = try await CommandResult.of(
                "device", "approve", fourth.userCode, "--agent", id, "--json", "--data", data)
            let agent = try JSONDecoder().decode(JSONValue.self, from: Data(joined.output.joined().utf8))
            #expect(agent["id"].string == id)
            let fifth = try await client.begin()
            let denied = try await CommandResult.of("device", "deny", fifth.userCode, "--json", "--data", data)
            let login = try JSONDecoder().decode(JSONValue.self, from: Data(denied.output.joined().utf8))
            #expect(login["user_code"].string == fifth.userCode)

            let again = try await CommandResult.of("device", "deny", first.userCode, "--data", data)
            #expect(again.status == 1)
            #expect(again.errors.contains("device.already_decided"))
            let unknown = try await CommandResult.of("device", "approve", "BBBB-BBBB", "--data", data)
            #expect(unknown.status == 1)
            #expect(unknown.errors.contains("device.not_found"))
        }
    }

    @Test func aFolderThatIsntThereIsNamedAndNotMade() async throws {
        let folder = try TemporaryFolder()
        let result = try await CommandResult.of("device", "list", "--data", folder.path("absent"))
        #expect(result.status == 1)
        #expect(result.errors.contains(folder.path("absent")))
        #expect(!FileManager.default.fileExists(atPath: folder.path("absent")))
    }

    @Test func serveWantsALoginUnlessToldOtherwise() async throws {
        let folder = try TemporaryFolder()
        let process = try BackendProcess(["serve", "--init", "--listen", "127.0.0.1:0", "--data", folder.path("data")])
        let line = await process.lines.first { $0.hasPrefix("runbook-backend listens on ") }
        let url = try #require(line?.split(separator: " ").last)
        let http = try HTTPClient()
        #expect(try await http.send(HTTPRequest(url: try HTTPURL("\(url)/api/agent"))).status == 401)
        #expect(try await http.send(HTTPRequest(url: try HTTPURL("\(url)/device"))).status == 200)
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 0)
    }
}
