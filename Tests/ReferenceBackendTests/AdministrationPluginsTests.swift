import AgentModel
import AgentTestSupport
import BackendClient
import Cryptography
import ReferenceBackend
import Testing

/// `/admin/api/plugins`.
@Suite struct AdministrationPluginsTests {
    @Test func publishingComputesTheHashAndGivesCommandsThePluginsId() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let script = "class Plugin:\r\n    def greet(self):\r\n        return 'h\u{e9}llo \u{0}'"
            let answer = try await client.administer(
                .post, "/plugins",
                json: [
                    "name": "Greeter", "version": "v1.2", "description": "Says hello", "script": .string(script),
                    "commands": ["greet": "greet"],
                ])
            #expect(answer.status == 201)
            let id = try #require(answer.data["id"].string)
            #expect(answer.data["hash"].string == SHA512.hash(script.utf8).hex)
            #expect(answer.data["version"] == "v1.2")
            let command = answer.data["commands"]["\(id).greet"]
            #expect(command["function"] == "greet")
            #expect(command["name"].string == "\(id).greet")
            #expect(command["id"].string?.isEmpty == false)

            let shown = try await client.administer(.get, "/plugins/\(id)")
            #expect(shown.data == answer.data)
            #expect(shown.data["script"].string.map { Array($0.utf8) } == Array(script.utf8))
            let listed = try await client.administer(.get, "/plugins")
            #expect(listed.data[0]["id"].string == id)
            #expect(listed.data[0]["script"] == .null)
            #expect(listed.data[0]["hash"] == answer.data["hash"])
        }
    }

    @Test func aNewVersionGetsANewId() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let body: JSONValue = ["name": "P", "version": 1, "script": "class Plugin: pass", "commands": [:]]
            let first = try await client.administer(.post, "/plugins", json: body)
            let second = try await client.administer(.post, "/plugins", json: body)
            #expect(second.status == 201)
            #expect(first.data["id"] != second.data["id"])
        }
    }

    @Test func theContractsOwnDocumentCanBePublishedOnce() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let body: JSONValue = [
                "id": "p-1", "name": "P", "version": .null, "description": .null, "script": "class Plugin: pass",
                "hash": .string(SHA512.hash("class Plugin: pass".utf8).hex.uppercased()),
                "commands": ["p-1.greet": ["id": "c-1", "name": "p-1.greet", "function": "greet"]],
            ]
            let answer = try await client.administer(.post, "/plugins", json: body)
            #expect(answer.status == 201)
            #expect(
                answer.data["commands"] == ["p-1.greet": ["id": "c-1", "name": "p-1.greet", "function": "greet"]])
            let again = try await client.administer(.post, "/plugins", json: body)
            #expect(again.status == 409)
            #expect(again.errorCode == "plugin.already_exists")
        }
    }

    @Test func whatAPluginAsksOfTheSandboxIsKeptAndServed() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            let asked: JSONValue = ["network": "dns,tcp:443", "read_paths": ["/srv/data"], "programs": false]
            var fields: [String: JSONValue] = ["id": "asks", "name": "P", "script": "class Plugin: pass"]
            fields["commands"] = [:]
            fields["sandbox"] = asked
            let answer = try await client.administer(.post, "/plugins", json: .object(fields))
            #expect(answer.status == 201)
            #expect(answer.data["sandbox"] == asked)
            #expect(try await client.administer(.get, "/plugins/asks").data["sandbox"] == asked)
            #expect(try await client.administer(.get, "/plugins").data[0]["sandbox"] == asked)
            _ = try await backend.service.assign("asks", to: try await backend.localAgentID())
            #expect(try await client.get("/api/agent/plugin/asks").data["sandbox"] == asked)

            // One that asks for nothing is served as part 1 of the contract has it.
            fields["sandbox"] = nil
            fields["id"] = "silent"
            #expect(try await client.administer(.post, "/plugins", json: .object(fields)).status == 201)
            _ = try await backend.service.assign("silent", to: try await backend.localAgentID())
            let served = try await client.get("/api/agent/plugin/silent")
            #expect(!String(decoding: served.response.body, as: UTF8.self).contains("sandbox"))
        }
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        var field: String
        var value: JSONValue
        var named: String?

        var testDescription: String { "\(field): \(value.text.prefix(40))" }
    }

    @Test(arguments: [
        Malformed(field: "name", value: .null), Malformed(field: "name", value: ""),
        Malformed(field: "script", value: .null), Malformed(field: "script", value: 5),
        Malformed(field: "script", value: ""),
        Malformed(field: "script", value: .string(String(repeating: "#", count: (8 << 20) + 1))),
        Malformed(field: "id", value: "../../etc/x"), Malformed(field: "version", value: 1.5),
        Malformed(field: "hash", value: "00"), Malformed(field: "commands", value: []),
        Malformed(field: "commands", value: .null),
        Malformed(field: "commands", value: ["greet": "__init__"], named: "commands.greet"),
        Malformed(field: "commands", value: ["greet": "not an identifier"], named: "commands.greet"),
        Malformed(field: "commands", value: ["greet": 5], named: "commands.greet"),
        Malformed(field: "commands", value: ["greet": ["name": "x"]], named: "commands.greet.function"),
        Malformed(field: "commands", value: ["": "greet"], named: "commands."),
        Malformed(field: "key_id", value: "a\nb"), Malformed(field: "scirpt", value: "x"),
        Malformed(field: "sandbox", value: "none"),
        Malformed(field: "sandbox", value: ["network": "udp:53"], named: "sandbox.network"),
        Malformed(field: "sandbox", value: ["read_paths": ["../x"]], named: "sandbox.read_paths"),
        Malformed(field: "sandbox", value: ["netwrok": "none"], named: "sandbox.netwrok"),
    ])
    func aMalformedPluginIsRefusedWithItsFieldNamed(malformed: Malformed) async throws {
        try await LiveBackend.withLiveBackend { backend in
            let client = try TestClient(backend)
            var fields: [String: JSONValue] = [
                "name": "P", "script": "class Plugin: pass", "commands": ["greet": "greet"],
            ]
            fields[malformed.field] = malformed.value
            let answer = try await client.administer(.post, "/plugins", json: .object(fields))
            #expect(answer.status == 422)
            #expect(answer.errorField.string == malformed.named ?? malformed.field)
            #expect(try await client.administer(.get, "/plugins").data == [])
        }
    }

    @Test func anUnknownPluginIsNotFound() async throws {
        try await LiveBackend.withLiveBackend { backend in
            let answer = try await TestClient(backend).administer(.get, "/plugins/nope")
            #expect(answer.status == 404)
            #expect(answer.errorCode == "plugin.not_found")
        }
    }
}
