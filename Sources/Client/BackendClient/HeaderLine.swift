/// One line of a response's header, taken apart by its bytes: there are a dozen in each answer, and none is worth a detour
/// through Foundation.
enum HeaderLine {
    /// The first line of an answer; zero where its status can't be read.
    case status(Int)
    case field(name: String, value: String)
    /// The header is complete.
    case end
    /// Neither, such as a line without a colon.
    case other

    /// - Parameter line: with or without its line end (RFC 9112, sections 2.2, 4 and 5).
    init(_ line: UnsafeRawBufferPointer) {
        let line = Self.trimmed(line[...])
        guard !line.isEmpty else {
            self = .end
            return
        }
        if line.starts(with: "HTTP/".utf8) {
            let code = line.drop { $0 != Self.space }.drop { $0 == Self.space }.prefix { $0 != Self.space }
            self = .status(Int(String(decoding: code, as: UTF8.self)) ?? 0)
            return
        }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            self = .other
            return
        }
        self = .field(
            name: String(decoding: line[..<colon], as: UTF8.self),
            value: String(decoding: Self.trimmed(line[line.index(after: colon)...]), as: UTF8.self))
    }

    private static let space = UInt8(ascii: " ")

    private static func trimmed(_ bytes: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        var bytes = bytes
        while let first = bytes.first, isSpace(first) { bytes.removeFirst() }
        while let last = bytes.last, isSpace(last) { bytes.removeLast() }
        return bytes
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == space || (0x09...0x0D).contains(byte)
    }

    /// Whether two names of fields are the same (RFC 9110, section 5.1: their case doesn't matter).
    static func isSame(_ one: String, _ other: String) -> Bool {
        one.utf8.count == other.utf8.count
            && zip(one.utf8, other.utf8).allSatisfy { $0 == $1 || lowercased($0) == lowercased($1) }
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }
}
