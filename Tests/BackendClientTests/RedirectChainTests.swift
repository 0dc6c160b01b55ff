import AgentModel
import Foundation
import Testing

@testable import BackendClient

/// What needs two servers with TLS to be seen from outside.
@Suite struct RedirectChainTests {
    struct Step: Sendable, CustomTestStringConvertible {
        var from: String
        var to: String
        var isFollowed: Bool
        var keepsSecret: Bool
        var testDescription: String { "\(from) to \(to)" }
    }

    @Test(arguments: [
        Step(from: "https://a/x", to: "http://a/x", isFollowed: false, keepsSecret: false),
        Step(from: "https://a/x", to: "http://b/x", isFollowed: false, keepsSecret: false),
        Step(from: "https://a/x", to: "//b/x", isFollowed: true, keepsSecret: false),
        Step(from: "https://a/x", to: "https://A:443/y", isFollowed: true, keepsSecret: true),
        Step(from: "https://a/x", to: "https://a:444/y", isFollowed: true, keepsSecret: false),
        Step(from: "https://a/x", to: "https://a.b/y", isFollowed: true, keepsSecret: false),
        Step(from: "http://a/x", to: "https://a/x", isFollowed: true, keepsSecret: false),
        Step(from: "http://a/x", to: "http://a:80/y", isFollowed: true, keepsSecret: true),
    ])
    func originDecides(step: Step) throws {
        let url = try HTTPURL(step.from)
        let header = HTTPHeader(name: "Authorization", value: "Bearer hush", isSecret: true)
        var chain = RedirectChain(HTTPRequest(url: url, headers: [header]), HTTPClient.Configuration())
        let response = HTTPResponse(
            status: 302, headers: [(name: "location", value: step.to)], body: Data(), url: url, reusedConnection: false)
        guard step.isFollowed else {
            let error = #expect(throws: HTTPClientError.self) { try chain.follow(response) }
            #expect(error?.code == "http.redirect_refused")
            return
        }
        #expect(try chain.follow(response))
        #expect(chain.hop.headers.isEmpty == !step.keepsSecret)
    }

    @Test func insecureRedirectsAreFollowedWhereThatIsAllowedAndTakeNoToken() throws {
        var configuration = HTTPClient.Configuration()
        configuration.followsToInsecure = true
        let url = try HTTPURL("https://a/x")
        let headers = [
            HTTPHeader(name: "Authorization", value: "Bearer hush", isSecret: true),
            HTTPHeader(name: "Accept", value: "application/json"),
        ]
        var chain = RedirectChain(HTTPRequest(url: url, headers: headers), configuration)
        let response = HTTPResponse(
            status: 308, headers: [(name: "Location", value: "http://a/x")], body: Data(), url: url,
            reusedConnection: false)
        #expect(try chain.follow(response))
        #expect(chain.hop.url.text == "http://a/x")
        #expect(chain.hop.headers.map(\.name) == ["Accept"])
    }

    @Test(arguments: [
        ("https://a/y", true), ("https://a:443/y", true), ("https://b/y", false), ("https://a:444/y", false),
        ("//b/y", false), ("https://a.b/y", false),
    ])
    func aSecretBodyStaysAtItsOrigin(location: String, isFollowed: Bool) throws {
        let url = try HTTPURL("https://a/token")
        let request = HTTPRequest(method: .post, url: url, body: Data("refresh_token=hush".utf8), staysAtOrigin: true)
        var chain = RedirectChain(request, HTTPClient.Configuration())
        let response = HTTPResponse(
            status: 307, headers: [(name: "Location", value: location)], body: Data(), url: url, reusedConnection: false
        )
        guard isFollowed else {
            let error = #expect(throws: HTTPClientError.self) { try chain.follow(response) }
            #expect(error?.code == "http.redirect_refused")
            #expect(error?.message.contains("hush") == false)
            return
        }
        #expect(try chain.follow(response))
        #expect(chain.hop.body == request.body)
    }

    @Test(arguments: [
        ("http://localhost:1/", true), ("http://127.0.0.1/", true), ("http://127.255.0.9:80/", true),
        ("http://[::1]:8/", true), ("http://127.evil.example/", false), ("http://127.0.0.1.example/", false),
        ("http://localhost.example/", false), ("http://10.0.0.1/", false), ("http://[::2]/", false),
        ("http://0.0.0.0/", false),
    ])
    func loopbackIsThisHostAlone(url: String, isLoopback: Bool) throws {
        #expect(try HTTPURL(url).origin.isLoopback == isLoopback)
    }
}
