import AgentModel
import AgentTestSupport
import Foundation
import Testing

@testable import BackendClient

@Suite struct ProxySettingsTests {
    private func send(_ url: String, _ proxies: ProxySettings) async throws -> HTTPResponse {
        let client = try HTTPClient(HTTPClient.Configuration(proxies: proxies))
        return try await client.send(HTTPRequest(url: try HTTPURL(url)))
    }

    @Test func theProxyOfTheEnvironmentIsAsked() async throws {
        let proxy = try ScriptedServer()
        proxy.route("http://backend.example/api", .json("{}"))
        let response = try await send(
            "http://backend.example/api", ProxySettings(environment: ["http_proxy": proxy.url]))
        #expect(response.status == 200)
        #expect(proxy.requests.first?.header("Host") == "backend.example")
    }

    @Test func allProxyStandsInForTheOthers() {
        #expect(
            ProxySettings(environment: ["ALL_PROXY": "http://p:1"])
                == ProxySettings(http: "http://p:1", https: "http://p:1"))
        #expect(ProxySettings(environment: ["HTTPS_PROXY": "http://p:1"]) == ProxySettings(https: "http://p:1"))
        #expect(ProxySettings(environment: ["HTTP_PROXY": "http://attacker"]) == ProxySettings())
        #expect(ProxySettings(environment: ["http_proxy": "", "no_proxy": "a"]) == ProxySettings(exceptions: "a"))
    }

    @Test func exceptionsAndThisHostAreReachedDirectly() async throws {
        let proxy = try ScriptedServer()
        let server = try ScriptedServer()
        server.route("/x", .json("{}"))
        let settings = ProxySettings(environment: ["http_proxy": proxy.url, "no_proxy": "excepted.invalid"])
        #expect(try await send(server.url + "/x", settings).status == 200)
        let direct = await #expect(throws: HTTPClientError.self) {
            try await send("http://excepted.invalid:1/", settings)
        }
        #expect(direct != nil)
        #expect(proxy.requests.isEmpty)
    }

    @Test(arguments: [
        "http://localhost", "http://localhost.:8080", "http://LOCALHOST", "http://127.0.0.1", "http://127.9.9.9:1",
        "http://[::1]", "https://localhost./x",
    ])
    func whatMayGetATokenOverPlainHTTPIsReachedDirectly(_ text: String) throws {
        let url = try HTTPURL(text)
        #expect(url.origin.isLoopback)
        #expect(ProxySettings(http: "http://p:1", https: "http://p:1").proxy(for: url) == nil)
    }

    @Test(arguments: ["http://127.example", "http://127.0.0.1.example", "http://localhost.example"])
    func whatOnlyLooksLikeThisHostIsNot(_ text: String) throws {
        let url = try HTTPURL(text)
        #expect(!url.origin.isLoopback)
        #expect(ProxySettings(http: "http://p:1").proxy(for: url) == "http://p:1")
    }

    @Test func aDeadProxyIsNamed() async throws {
        let proxy = try ScriptedServer()
        let address = proxy.url
        proxy.stop()
        let error = await #expect(throws: HTTPClientError.self) {
            try await send("http://backend.example/", ProxySettings(http: address))
        }
        #expect(error != nil)
    }
}
