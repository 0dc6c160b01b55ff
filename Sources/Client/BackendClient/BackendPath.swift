import Foundation

/// A place at the backend, with its query where it has one.
public enum BackendPath: Sendable, Hashable {
    /// Under `/api` of the server URL; a slash in front makes no difference.
    case api(String)
    /// Under the server URL itself, such as `/graphql`.
    case root(String)
    /// Where the result of a task goes, whose id was made one segment by ``segment(_:)``.
    case result(ofTask: String)

    /// The path as it is sent, with its dot segments resolved (RFC 3986, section 5.2.4).
    /// - Throws: `BackendError.invalidPath` where it leads out of its place, or may for a server or proxy that reads it in
    ///   another way than the standard has it.
    func checkedText() throws(BackendError) -> String {
        let (prefix, path) =
            switch self {
            case .api(let path): ("/api/", path)
            case .root(let path): ("/", path)
            case .result(let segment): ("/api/agent/task/", segment)
            }
        // One segment that was encoded here, of whatever id.
        if case .result = self { return prefix + path }
        let mark = path.utf8.firstIndex(of: UInt8(ascii: "?")) ?? path.endIndex
        guard !path.utf8.contains(UInt8(ascii: "#")) else {
            throw .invalidPath(path, problem: "# begins a fragment, which is never sent; write it as %23")
        }
        let segments = try Self.resolved(path[..<mark].drop { $0 == "/" }, path: path)
        let resolved = segments.joined(separator: "/")
        if let problem = Self.problem(with: resolved) { throw .invalidPath(path, problem: problem) }
        return prefix + resolved + path[mark...]
    }

    private static let escapes = "its .. lead out of /api"

    private static func resolved(_ relative: Substring, path: String) throws(BackendError) -> [Substring] {
        var result: [Substring] = []
        let segments = relative.split(separator: "/", omittingEmptySubsequences: false)
        for (number, segment) in segments.enumerated() {
            let isLast = number == segments.count - 1
            switch segment.replacingOccurrences(of: "%2e", with: ".", options: .caseInsensitive) {
            case ".": if isLast { result.append("") }
            case "..":
                guard result.popLast() != nil else { throw .invalidPath(path, problem: escapes) }
                if isLast { result.append("") }
            default: result.append(segment)
            }
        }
        return result
    }

    /// Why a path leads elsewhere for whoever decodes it once more, takes `\\` for `/`, or cuts segments at a `;`.
    private static func problem(with path: String) -> String? {
        var text = path
        // Each round takes one level of encoding away.
        while true {
            if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "it has a control character" }
            var depth = 0
            for segment in text.utf8.split(whereSeparator: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") }) {
                switch String(segment.prefix { $0 != UInt8(ascii: ";") }) {
                case ".", "": break
                case "..": depth -= 1
                default: depth += 1
                }
                if depth < 0 { return escapes }
            }
            let decoded = decoded(text)
            if decoded == text { return nil }
            text = decoded
        }
    }

    /// Without one level of percent-encoding. What isn't encoded stays.
    private static func decoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == UInt8(ascii: "%"), digits.count == 2,
                digits.allSatisfy({ $0 < 0x80 && Character(Unicode.Scalar($0)).isHexDigit }),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
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
