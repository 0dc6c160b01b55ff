/// Writes JSON text (RFC 8259) without a tree of values in between, for what is long and written often.
public struct JSONWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    /// Text that is JSON already.
    public mutating func raw(_ text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    /// A string, in quotes.
    public mutating func string(_ text: String) {
        var text = text
        text.withUTF8 { bytes.appendJSONString($0) }
    }

    public mutating func string(_ text: String?) {
        if let text { string(text) } else { raw("null") }
    }
}

extension [UInt8] {
    /// Appends a text in UTF-8 as a JSON string, in quotes (RFC 8259, section 7).
    mutating func appendJSONString(_ text: some Collection<UInt8>) {
        append(UInt8(ascii: "\""))
        var start = text.startIndex
        for index in text.indices {
            let byte = text[index]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            append(contentsOf: text[start..<index])
            start = text.index(after: index)
            append(UInt8(ascii: "\\"))
            if byte < 0x20 {
                append(contentsOf: "u00".utf8)
                append(contentsOf: [Self.hexDigits[Int(byte >> 4)], Self.hexDigits[Int(byte & 0xF)]])
            } else {
                append(byte)
            }
        }
        append(contentsOf: text[start...])
        append(UInt8(ascii: "\""))
    }

    private static let hexDigits = [UInt8]("0123456789abcdef".utf8)
}

extension [TaskDocument] {
    /// The list as `GET /api/agent/tasks` has it: as an encoder would write it.
    public func writeJSON(to writer: inout JSONWriter) {
        writer.raw("[")
        for (index, task) in enumerated() {
            if index > 0 { writer.raw(",") }
            writer.raw(#"{"arguments":"#)
            writer.string(task.arguments)
            writer.raw(#","command":"#)
            writer.string(task.command)
            writer.raw(#","cron":"#)
            writer.string(task.cron)
            writer.raw(#","id":"#)
            writer.string(task.id)
            writer.raw("}")
        }
        writer.raw("]")
    }
}
