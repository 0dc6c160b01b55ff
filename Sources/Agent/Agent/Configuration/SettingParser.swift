import AgentModel
import Diagnostics
import Foundation
import Quantities

/// Reads the text of one setting as what it must be; each failure is a sentence on what is allowed.
enum SettingParser {
    struct Refusal: Error {
        /// Ends the sentence "which must be …".
        var allowed: String
        /// Whether the value may hold a secret, and is not to be shown.
        var hidesValue = false
    }

    /// As Python's `getboolean` in any case, and empty is false.
    static func boolean(_ text: String) throws(Refusal) -> Bool {
        switch text.lowercased() {
        case "true", "yes", "on", "1": return true
        case "false", "no", "off", "0", "": return false
        default: throw Refusal(allowed: "True, yes, on or 1, or False, no, off or 0")
        }
    }

    static func integer(_ text: String, _ range: ClosedRange<Int>) throws(Refusal) -> Int {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let value = Int(text), range.contains(value) else {
            throw Refusal(allowed: "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// Bytes: a whole number, with KiB, MiB, GiB or TiB behind it or without.
    static func bytes(_ text: String, _ range: ClosedRange<Int>) throws(Refusal) -> Int {
        guard let bytes = SizeQuantity.bytes(text), range.contains(bytes) else { throw sizeRefusal(range) }
        return bytes
    }

    private static func sizeRefusal(_ range: ClosedRange<Int>) -> Refusal {
        Refusal(
            allowed: "a number of bytes from \(range.lowerBound) to \(range.upperBound), such as \"1073741824\" or "
                + "\"1 GiB\"")
    }

    /// A time span: a number, with or without a fraction, of seconds, or of `ms`, `s`, `min`, `h` or `d`, which stand
    /// behind it.
    static func seconds(_ text: String, _ range: ClosedRange<Double>) throws(Refusal) -> Duration {
        guard let seconds = TimeQuantity.seconds(text), range.contains(seconds) else {
            throw Refusal(
                allowed: "a number of seconds from \(plain(range.lowerBound)) to \(plain(range.upperBound)), such as "
                    + "\"90\", \"90 s\" or \"1.5 min\"; the units are \(TimeQuantity.unitNames)")
        }
        return .milliseconds(Int64((seconds * 1000).rounded()))
    }

    private static func plain(_ number: Double) -> String {
        number.formatted(.number.grouping(.never).locale(Locale(identifier: "en_US_POSIX")))
    }

    /// Seconds, or nil for 0.
    static func timeLimit(_ text: String) throws(Refusal) -> Duration? {
        do {
            let limit = try seconds(text, 0...31_536_000)
            return limit == .zero ? nil : limit
        } catch {
            throw Refusal(allowed: "\(error.allowed), 0 for no limit")
        }
    }

    static func choice<Value: RawRepresentable<String> & CaseIterable>(
        _ text: String, of type: Value.Type
    ) throws(Refusal) -> Value {
        guard let value = Value(rawValue: text.lowercased()) else {
            throw Refusal(allowed: Value.allCases.map { quoted($0.rawValue) }.joined(separator: " or "))
        }
        return value
    }

    /// The address of a backend without its trailing slashes.
    static func serverURL(_ text: String) throws(Refusal) -> String {
        let allowed = "an address such as \"https://backend.example\", without a query or fragment"
        // Before Foundation reads it, which makes the name ASCII by rules that libcurl doesn't have.
        let authority = (text.range(of: "://")?.upperBound).map { text[$0...].prefix { !"/?#".contains($0) } } ?? ""
        guard authority.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw Refusal(
                allowed: "an address whose host name is ASCII; one with other letters has a form that begins with xn--",
                hidesValue: text.contains("@"))
        }
        guard let url = URLComponents(string: text), let scheme = url.scheme?.lowercased(),
            ["http", "https"].contains(scheme), let host = url.host, !host.isEmpty
        else {
            throw Refusal(allowed: allowed, hidesValue: text.contains("@"))
        }
        guard url.user == nil, url.password == nil else {
            throw Refusal(allowed: "an address without a user name and a password", hidesValue: true)
        }
        let port = authority.split(separator: "@").last?.split(separator: ":", omittingEmptySubsequences: false).last
        let hasPort = !authority.hasSuffix("]") && authority.contains(":")
        guard !hasPort || port.flatMap({ UInt16($0) }) ?? 0 > 0 || port?.isEmpty == true else {
            throw Refusal(allowed: "an address whose port is a number from 1 to 65535", hidesValue: text.contains("@"))
        }
        guard url.query == nil, url.fragment == nil else { throw Refusal(allowed: allowed, hidesValue: true) }
        var trimmed = text[...]
        while trimmed.last == "/" { trimmed.removeLast() }
        return String(trimmed)
    }

    /// - Parameter directory: what relative paths are relative to.
    static func path(_ text: String, in directory: String) throws(Refusal) -> String {
        guard !text.isEmpty, !text.unicodeScalars.contains(where: { $0.value < 0x20 }) else {
            throw Refusal(allowed: "the path of a file or folder, on one line")
        }
        return URL(fileURLWithPath: text, relativeTo: URL(fileURLWithPath: directory, isDirectory: true))
            .standardizedFileURL.path
    }

    /// Paths separated by colons, as in `PYTHONPATH`, or by line ends.
    static func paths(_ text: String, in directory: String) throws(Refusal) -> [String] {
        var result: [String] = []
        for part in text.split(whereSeparator: { $0 == ":" || $0.isNewline }) {
            let trimmed = part.trimmingCharacters(in: .whitespaces)
            if !trimmed.isEmpty { result.append(try path(trimmed, in: directory)) }
        }
        return result
    }

    /// A path below an address.
    static func urlPath(_ text: String) throws(Refusal) -> String {
        guard text.hasPrefix("/"), !text.hasPrefix("//"), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            !text.contains("?"), !text.contains("#"), !text.contains("\\")
        else { throw Refusal(allowed: "a path below server_url, such as \"/oauth/token\"") }
        return text
    }

    static func line(_ text: String) throws(Refusal) -> String {
        guard !text.unicodeScalars.contains(where: { $0.value < 0x20 }) else {
            throw Refusal(allowed: "a text on one line")
        }
        return text
    }
}
