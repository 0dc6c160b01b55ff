import Diagnostics
import Foundation
import Logging

/// One event on its way to becoming a line.
struct LogLine {
    var time: Date
    var level: Logger.Level
    var label: String
    var message: String
    var fields: Logger.Metadata

    /// Bounds what one event can write, in Unicode scalars.
    private static let messageLimit = 8000
    private static let valueLimit = 4000

    // MARK: For people

    func text(isColoured: Bool) -> String {
        func coloured(_ text: String, _ code: String) -> String {
            isColoured ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
        }
        let level = level.rawValue.padding(toLength: 8, withPad: " ", startingAt: 0)
        var line = coloured(RFC3339.string(from: time), "2") + " " + coloured(level, colour)
        line += "[\(Self.escaped(label))] \(Self.escaped(message))"
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            line += " " + coloured(Self.escaped(key) + "=", "2") + Self.plainOrQuoted(value.description)
        }
        return line + "\n"
    }

    private var colour: String {
        switch level {
        case .trace, .debug: "2"
        case .info: "32"
        case .notice: "36"
        case .warning: "33"
        case .error: "31"
        case .critical: "1;31"
        }
    }

    /// As it is where it holds neither a space nor anything to escape, else in quotes.
    private static func plainOrQuoted(_ text: String) -> String {
        let isPlain =
            !text.isEmpty
            && !text.unicodeScalars.contains {
                isUnsafe($0) || $0.properties.isWhitespace || $0 == "=" || $0 == "\"" || $0 == "\\"
            }
        return isPlain
            ? escaped(text, limit: valueLimit) : "\"" + escaped(text, limit: valueLimit, isInQuotes: true) + "\""
    }

    /// With everything escaped that ends a line or moves a terminal, and cut at `limit`.
    private static func escaped(_ text: String, limit: Int = messageLimit, isInQuotes: Bool = false) -> String {
        var result = ""
        var count = 0
        for scalar in HiddenSecrets.hidden(in: text).unicodeScalars {
            guard count < limit else { return result + "…" }
            count += 1
            switch scalar {
            case "\"" where isInQuotes: result += "\\\""
            case "\\" where isInQuotes: result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where isUnsafe(scalar): result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value < 0x20 || scalar.value == 0x7F }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }

    // MARK: JSON

    /// Fields that every line has; metadata of the same name gets an underscore at its end.
    private static let reserved: Set<String> = ["time", "level", "label", "message"]

    var json: String {
        var line = "{\"time\":\"\(RFC3339.string(from: time))\",\"level\":\"\(level.rawValue)\",\"label\":"
        line += Self.json(label, limit: Self.valueLimit)
        line += ",\"message\":" + Self.json(message, limit: Self.messageLimit)
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            let name = Self.reserved.contains(key) ? key + "_" : key
            line += "," + Self.json(name, limit: Self.valueLimit) + ":" + Self.json(value)
        }
        return line + "}\n"
    }

    private static func json(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): return json(text, limit: valueLimit)
        case .stringConvertible(let value):
            switch value {
            case let number as any FixedWidthInteger: return number.description
            case let number as Double where number.isFinite: return number.description
            case let flag as Bool: return flag ? "true" : "false"
            default: return json(value.description, limit: valueLimit)
            }
        case .array(let values): return "[" + values.map(json).joined(separator: ",") + "]"
        case .dictionary(let values):
            let fields = values.sorted { $0.key < $1.key }.map {
                json($0.key, limit: valueLimit) + ":" + json($0.value)
            }
            return "{" + fields.joined(separator: ",") + "}"
        }
    }

    /// A JSON string (RFC 8259, section 7) with everything escaped that ends a line or moves a terminal.
    private static func json(_ text: String, limit: Int) -> String {
        var result = "\""
        var count = 0
        for scalar in HiddenSecrets.hidden(in: text).unicodeScalars {
            guard count < limit else {
                result += "…"
                break
            }
            count += 1
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case _ where isUnsafe(scalar):
                for unit in UTF16.encode(scalar) ?? .init() {
                    let digits = String(unit, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
