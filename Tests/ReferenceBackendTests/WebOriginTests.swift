import ReferenceBackend
import Testing

/// `--public-url` and the host that a request names.
@Suite struct WebOriginTests {
    @Test(arguments: [
        ("https://Backend.example.com/", "https://backend.example.com"),
        ("https://backend.example.com:443", "https://backend.example.com"), ("http://[::1]:8787", "http://[::1]:8787"),
        ("http://127.0.0.1:80", "http://127.0.0.1"), ("https://h:8443", "https://h:8443"),
    ])
    func anOriginIsWrittenAsBrowsersWriteIt(text: String, expected: String) throws {
        #expect(try "\(WebOrigin(text))" == expected)
    }

    @Test(arguments: [
        "backend.example.com", "ftp://x", "https://", "https://x/path", "https://u@x", "https://x:port", "https://x y",
        "https://x:99999", "https://[::1", "https://x\"", "https://x?y",
    ])
    func anythingElseIsRefusedByName(text: String) {
        let error = #expect(throws: ReferenceBackendError.self) { try WebOrigin(text) }
        #expect(error?.field == "public-url")
    }
}
