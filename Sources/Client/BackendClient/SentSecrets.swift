import Foundation

/// The secrets that went out with a request, so that they can be taken out of what is shown of its answer: a server's
/// error page or message may repeat them.
struct SentSecrets: Sendable, CustomStringConvertible, CustomReflectable {
    private let secrets: [[UInt8]]

    static let placeholder = "(hidden)"

    init(_ secrets: [String] = []) {
        // The longest first: one may begin as another does.
        self.secrets = secrets.map { Array($0.utf8) }.filter { !$0.isEmpty }.sorted { $0.count > $1.count }
    }

    var description: String { Self.placeholder }

    // `dump` goes through the mirror and not through `description`.
    var customMirror: Mirror { Mirror(self, children: []) }

    /// The text without them.
    func hidden(in text: String) -> String {
        secrets.isEmpty ? text : excerpt(of: Array(text.utf8), limit: .max)
    }

    /// The beginning of bytes, without them: up to so many bytes, and a secret at the edge is not cut but left out.
    func excerpt(of bytes: some Collection<UInt8>, limit: Int) -> String {
        // No more than can be needed: a secret's byte takes up to ten where it is escaped.
        let longest = 10 * (secrets.first?.count ?? 0)
        let bytes = Array(bytes.prefix(limit == .max ? .max : limit + longest))
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count, result.count < limit {
            if let end = secrets.lazy.compactMap({ Self.end(of: $0, in: bytes, from: index) }).first {
                result += Array(Self.placeholder.utf8)
                index = end
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// Where a secret ends that begins at an index, however its bytes are written; nil where none begins.
    private static func end(of secret: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        var index = start
        for byte in secret {
            guard let next = end(ofByte: byte, in: bytes, from: index) else { return nil }
            index = next
        }
        return index
    }

    /// The same of one byte: as it is, as in a form or a URL (`%2F`, `+`), in JSON (`\/`, `\u002F`) or in HTML (`&#x2F;`,
    /// `&#47;`, `&amp;`).
    private static func end(ofByte byte: UInt8, in bytes: [UInt8], from start: Int) -> Int? {
        guard start < bytes.count else { return nil }
        if bytes[start] == byte, byte != UInt8(ascii: "\\") { return start + 1 }
        let rest = bytes[start...].prefix(10)
        switch bytes[start] {
        case UInt8(ascii: "%"):
            return rest.count >= 3 && number(rest.dropFirst().prefix(2), radix: 16) == byte ? start + 3 : nil
        case UInt8(ascii: "+"): return byte == UInt8(ascii: " ") ? start + 1 : nil
        case UInt8(ascii: "\\"):
            if rest.dropFirst().first == byte { return start + 2 }
            guard rest.count >= 6, rest.dropFirst().first == UInt8(ascii: "u") else {
                return byte == UInt8(ascii: "\\") ? start + 1 : nil
            }
            return number(rest.dropFirst(2).prefix(4), radix: 16) == byte ? start + 6 : nil
        case UInt8(ascii: "&"):
            guard let semicolon = rest.firstIndex(of: UInt8(ascii: ";")) else { return nil }
            let name = rest[..<semicolon].dropFirst()
            return character(name) == byte ? semicolon + 1 : nil
        default: return nil
        }
    }

    /// What a character reference stands for (HTML, section 13.5), as far as tokens need it.
    private static func character(_ name: ArraySlice<UInt8>) -> UInt8? {
        switch String(decoding: name, as: UTF8.self) {
        case "amp": return UInt8(ascii: "&")
        case "lt": return UInt8(ascii: "<")
        case "gt": return UInt8(ascii: ">")
        case "quot": return UInt8(ascii: "\"")
        default: break
        }
        guard name.first == UInt8(ascii: "#") else { return nil }
        let digits = name.dropFirst()
        guard let mark = digits.first, mark == UInt8(ascii: "x") || mark == UInt8(ascii: "X") else {
            return number(digits, radix: 10)
        }
        return number(digits.dropFirst(), radix: 16)
    }

    private static func number(_ digits: ArraySlice<UInt8>, radix: Int) -> UInt8? {
        Int(String(decoding: digits, as: UTF8.self), radix: radix).flatMap { UInt8(exactly: $0) }
    }
}

extension HTTPRequest {
    /// Of the header fields and of the body.
    var sentSecrets: SentSecrets {
        // Of `Bearer TOKEN` the token: a server may repeat it alone.
        let ofHeaders = headers.filter(\.isSecret).compactMap { $0.value.split(separator: " ").last.map(String.init) }
        return SentSecrets(ofHeaders + bodySecrets)
    }
}
