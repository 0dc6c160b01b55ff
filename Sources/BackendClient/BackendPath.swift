/// A place at the backend, with its query where it has one.
public enum BackendPath: Sendable, Hashable {
    /// Under `/api` of the server URL; a slash in front makes no difference.
    case api(String)
    /// Under the server URL itself, such as `/graphql`.
    case root(String)

    var text: String {
        switch self {
        case .api(let path): "/api/" + path.drop { $0 == "/" }
        case .root(let path): "/" + path.drop { $0 == "/" }
        }
    }

    /// A text as one path segment: everything but RFC 3986's unreserved characters is percent-encoded. Nil for what no
    /// encoding makes a segment: nothing, `.` and `..`, which URL parsers take away in whatever way they are written.
    static func segment(_ text: String) -> String? {
        guard !text.isEmpty, text != ".", text != ".." else { return nil }
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0x0F)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
