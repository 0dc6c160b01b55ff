import Testing

@testable import BackendClient

@Suite struct HeaderLineTests {
    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\n", "status 200"), ("HTTP/2 304 \r\n", "status 304"), ("HTTP/1.1  404", "status 404"),
        ("HTTP/1.1 OK\r\n", "status 0"), ("HTTP/1.1\r\n", "status 0"),
        ("ETag: \"a: b\"\r\n", "ETag=\"a: b\""), ("X:\t y \t\r\n", "X=y"), ("Empty:\r\n", "Empty="), (":x\r\n", "=x"),
        ("X: café\r\n", "X=café"), ("\r\n", "end"), ("", "end"), (" \t\n", "end"), ("no colon\r\n", "other"),
    ])
    func isTakenApart(_ line: String, _ parts: String) {
        let text =
            Array(line.utf8).withUnsafeBytes { bytes in
                switch HeaderLine(bytes) {
                case .status(let code): "status \(code)"
                case .field(let name, let value): "\(name)=\(value)"
                case .end: "end"
                case .other: "other"
                }
            }
        #expect(text == parts)
    }

    @Test func bytesThatAreNoTextAreRepaired() {
        let line: [UInt8] = Array("X: ".utf8) + [0xFF] + Array("\r\n".utf8)
        line.withUnsafeBytes { bytes in
            guard case .field("X", "\u{FFFD}") = HeaderLine(bytes) else {
                Issue.record("it is \(HeaderLine(bytes))")
                return
            }
        }
    }

    @Test func theCaseOfNamesDoesNotMatter() {
        #expect(HeaderLine.isSame("ETag", "etag") && HeaderLine.isSame("WWW-Authenticate", "www-authenticate"))
        #expect(!HeaderLine.isSame("ETag", "ETags") && !HeaderLine.isSame("[", "{"))
    }
}
