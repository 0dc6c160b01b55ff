import ReferenceBackend
import Testing

@Suite struct ListenAddressTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var text: String
        var host: String
        var port: Int
        var url: String
        var isLoopback: Bool

        var testDescription: String { text }
    }

    @Test(arguments: [
        Case(text: "127.0.0.1:8787", host: "127.0.0.1", port: 8787, url: "http://127.0.0.1:8787", isLoopback: true),
        Case(text: "0.0.0.0:0", host: "0.0.0.0", port: 0, url: "http://0.0.0.0:0", isLoopback: false),
        Case(text: "[::1]:80", host: "::1", port: 80, url: "http://[::1]:80", isLoopback: true),
        Case(text: "[::]:80", host: "::", port: 80, url: "http://[::]:80", isLoopback: false),
        Case(text: "localhost:1", host: "localhost", port: 1, url: "http://localhost:1", isLoopback: true),
        Case(text: "example:65535", host: "example", port: 65535, url: "http://example:65535", isLoopback: false),
    ])
    func hostAndPortAreRead(example: Case) throws {
        let address = try ListenAddress(example.text)
        #expect(address == ListenAddress(host: example.host, port: example.port))
        #expect(address.description == example.text)
        #expect(address.url == example.url)
        #expect(address.isLoopback == example.isLoopback)
    }

    @Test(arguments: [
        "", "8787", "localhost", ":8787", "localhost:", "localhost:65536", "localhost:-1", "::1:80", "a:b",
    ])
    func anythingElseIsRefused(text: String) {
        #expect(throws: ReferenceBackendError.self) { try ListenAddress(text) }
    }
}
