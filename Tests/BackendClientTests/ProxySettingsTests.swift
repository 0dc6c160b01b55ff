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
        let port = proxy.port
        proxy.stop()
        for url in ["http://backend.example/", "https://backend.example/"] {
            let error = await #expect(throws: HTTPClientError.self) {
                try await send(url, ProxySettings(http: address, https: address))
            }
            #expect(error?.code == "http.proxy_unreachable")
            #expect(error?.message.contains("127.0.0.1:\(port)") == true)
        }
    }

    @Test func aProxyWithoutAnAddressIsNamed() async throws {
        let error = await #expect(throws: HTTPClientError.self) {
            try await send("http://backend.example/", ProxySettings(http: "http://proxy.invalid:1"))
        }
        #expect(error?.code == "http.proxy_not_resolved")
        #expect(error?.message.contains("proxy.invalid:1") == true)
    }

    @Test(arguments: [(403, "http.proxy_refused"), (502, "http.proxy_refused"), (407, "http.proxy_unauthorized")])
    func aTunnelThatIsRefusedIsTheProxys(_ status: Int, _ code: String) async throws {
        let proxy = try ScriptedServer()
        proxy.routeTheRest { _ in
            .response(status: status, headers: ["Proxy-Authenticate": "Basic realm=\"p\""], body: Data())
        }
        let error = await #expect(throws: HTTPClientError.self) {
            try await send("https://backend.example/", ProxySettings(https: proxy.url))
        }
        #expect(error?.code == code, "\(String(describing: error))")
        #expect(error?.message.contains("127.0.0.1:\(proxy.port)") == true)
        #expect(error?.message.contains("\(status)") == true)
        #expect(proxy.requests.first?.method == "CONNECT")
    }

    @Test func aProxyThatWantsALoginIsNamed() async throws {
        let proxy = try ScriptedServer()
        proxy.routeTheRest { _ in .json("{}", status: 407, headers: ["Proxy-Authenticate": "Basic realm=\"p\""]) }
        let error = await #expect(throws: HTTPClientError.self) {
            try await send("http://backend.example/", ProxySettings(http: proxy.url))
        }
        #expect(error?.code == "http.proxy_unauthorized")
        #expect(error?.message.contains("Basic") == true)
    }

    @Test(arguments: [
        "http://user:secret-of-proxy@127.0.0.1:99999", "http://user:secret-of-proxy@127.0.0.1:x",
        "gopher://user:secret-of-proxy@127.0.0.1:1", "user:secret-of-proxy@proxy.invalid:1",
        "http://user:secret-of-proxy/@127.0.0.1:1", "http://user:secret-of-proxy@proxy.invalid",
        "http://user:secret-of-proxy@127.0.0.1:1",
    ])
    func noErrorShowsTheProxysPassword(_ proxy: String) async throws {
        for url in ["http://backend.example/", "https://backend.example/"] {
            let error = await #expect(throws: HTTPClientError.self) {
                try await send(url, ProxySettings(http: proxy, https: proxy))
            }
            #expect(error?.code.hasPrefix("http.proxy_") == true, "\(String(describing: error))")
            for text in [error?.message ?? "", "\(String(describing: error))"] {
                #expect(!text.contains("secret-of-proxy"), "\(text)")
            }
        }
    }
}
