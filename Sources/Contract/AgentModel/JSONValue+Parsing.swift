public import Foundation

/// Where and why a text is not JSON.
public struct JSONProblem: Error, Equatable, Sendable {
    /// In bytes from the beginning.
    public var offset: Int
    public var problem: String

    public init(offset: Int, problem: String) {
        self.offset = offset
        self.problem = problem
    }

    /// `at byte 17: a comma or the end of the object is missing`.
    public var sentence: String { "at byte \(offset): \(problem)" }
}

extension JSONValue {
    /// Reads a JSON text (RFC 8259), in time that grows with its length alone.
    ///
    /// Of members with one name the last counts. `1.0` is a number and `1` an integer.
    /// - Throws: `JSONProblem`, also for a text that is nested deeper than ``JSONText/maximumNesting``.
    public init(parsing text: Data) throws(JSONProblem) {
        let result = text.withUnsafeBytes { bytes -> Result<JSONValue, JSONProblem> in
            var parser = JSONParser(bytes: bytes)
            do throws(JSONProblem) {
                return .success(try parser.document())
            } catch {
                return .failure(error)
            }
        }
        self = try result.get()
    }
}

private struct JSONParser {
    let bytes: UnsafeRawBufferPointer
    private var index = 0
    private var depth = 0

    init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func document() throws(JSONProblem) -> JSONValue {
        let value = try value()
        skipSpace()
        guard index == bytes.count else { throw problem("there is more behind the end of the value") }
        return value
    }

    private mutating func value() throws(JSONProblem) -> JSONValue {
        skipSpace()
        guard let first = peek else { throw problem("the text ends where a value is needed") }
        switch first {
        case UInt8(ascii: "{"): return try nested { parser throws(JSONProblem) in try parser.object() }
        case UInt8(ascii: "["): return try nested { parser throws(JSONProblem) in try parser.array() }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw problem("there is no JSON value here")
        }
    }

    private mutating func nested(
        _ body: (inout JSONParser) throws(JSONProblem) -> JSONValue
    ) throws(JSONProblem) -> JSONValue {
        depth += 1
        guard depth <= JSONText.maximumNesting else {
            throw problem("objects and arrays are nested deeper than \(JSONText.maximumNesting)")
        }
        index += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func object() throws(JSONProblem) -> JSONValue {
        var members: [String: JSONValue] = [:]
        if skip(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw problem("a name in quotes is missing") }
            let name = try string()
            guard skip(UInt8(ascii: ":")) else { throw problem("a colon is missing") }
            members[name] = try value()
        } while skip(UInt8(ascii: ","))
        guard skip(UInt8(ascii: "}")) else { throw problem("a comma or the end of the object is missing") }
        return .object(members)
    }

    private mutating func array() throws(JSONProblem) -> JSONValue {
        var elements: [JSONValue] = []
        if skip(UInt8(ascii: "]")) { return .array(elements) }
        repeat { elements.append(try value()) } while skip(UInt8(ascii: ","))
        guard skip(UInt8(ascii: "]")) else { throw problem("a comma or the end of the array is missing") }
        return .array(elements)
    }

    private mutating func string() throws(JSONProblem) -> String {
        let start = index + 1
        index = start
        var hasEscapes = false
        while let byte = peek, byte != UInt8(ascii: "\"") {
            guard byte >= 0x20 else { throw problem("a control character stands in a string") }
            if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                index += 1
            }
            index += 1
        }
        guard index < bytes.count else { throw problem("a string has no end") }
        let content = UnsafeRawBufferPointer(rebasing: bytes[start..<index])
        index += 1
        let decoded = hasEscapes ? try unescaped(content, at: start) : Array(content)
        guard let text = String(validating: decoded, as: UTF8.self) else {
            throw JSONProblem(offset: start, problem: "a string is not UTF-8")
        }
        return text
    }

    private func unescaped(_ content: UnsafeRawBufferPointer, at start: Int) throws(JSONProblem) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(content.count)
        var position = 0
        while position < content.count {
            guard content[position] == UInt8(ascii: "\\") else {
                output.append(content[position])
                position += 1
                continue
            }
            guard position + 1 < content.count else { throw JSONProblem(offset: start, problem: "a string has no end") }
            switch content[position + 1] {
            case UInt8(ascii: "n"): output.append(0x0A)
            case UInt8(ascii: "t"): output.append(0x09)
            case UInt8(ascii: "r"): output.append(0x0D)
            case UInt8(ascii: "b"): output.append(0x08)
            case UInt8(ascii: "f"): output.append(0x0C)
            case let byte where byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "/"):
                output.append(byte)
            case UInt8(ascii: "u"):
                guard let (scalar, length) = Self.scalar(at: position, in: content) else {
                    throw JSONProblem(offset: start + position, problem: "this is no character")
                }
                output.append(contentsOf: Array(String(Character(scalar)).utf8))
                position += length
                continue
            default: throw JSONProblem(offset: start + position, problem: "there is no such escape")
            }
            position += 2
        }
        return output
    }

    /// The character of `\uXXXX`, or of two of them that are a surrogate pair (RFC 8259, section 7).
    private static func scalar(at position: Int, in content: UnsafeRawBufferPointer) -> (Unicode.Scalar, length: Int)? {
        func unit(at position: Int) -> UInt32? {
            guard position + 6 <= content.count, content[position] == UInt8(ascii: "\\"),
                content[position + 1] == UInt8(ascii: "u")
            else { return nil }
            var unit: UInt32 = 0
            for byte in content[(position + 2)..<(position + 6)] {
                guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
                unit = unit << 4 | UInt32(digit)
            }
            return unit
        }
        guard let first = unit(at: position) else { return nil }
        if let scalar = Unicode.Scalar(first) { return (scalar, 6) }
        guard (0xD800..<0xDC00).contains(first), let second = unit(at: position + 6),
            (0xDC00..<0xE000).contains(second)
        else { return nil }
        return Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)).map { ($0, 12) }
    }

    private mutating func number() throws(JSONProblem) -> JSONValue {
        let start = index
        _ = skipByte(UInt8(ascii: "-"))
        let whole = skipDigits()
        guard whole == 1 || whole > 1 && bytes[index - whole] != UInt8(ascii: "0") else {
            throw JSONProblem(offset: start, problem: "this is no number")
        }
        var isInteger = true
        if skipByte(UInt8(ascii: ".")) {
            isInteger = false
            guard skipDigits() > 0 else { throw JSONProblem(offset: start, problem: "this is no number") }
        }
        if skipByte(UInt8(ascii: "e")) || skipByte(UInt8(ascii: "E")) {
            isInteger = false
            if !skipByte(UInt8(ascii: "+")) { _ = skipByte(UInt8(ascii: "-")) }
            guard skipDigits() > 0 else { throw JSONProblem(offset: start, problem: "this is no number") }
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .integer(value) }
        if isInteger, let value = UInt64(text) { return .unsigned(value) }
        guard let value = Double(text), value.isFinite else {
            throw JSONProblem(offset: start, problem: "the number is too large")
        }
        return .number(value)
    }

    private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONProblem) -> JSONValue {
        let end = index + text.utf8CodeUnitCount
        guard end <= bytes.count,
            bytes[index..<end].elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        else { throw problem("there is no JSON value here") }
        index = end
        return value
    }

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { index += 1 }
    }

    /// Skips white space and then this byte, where it is next.
    private mutating func skip(_ byte: UInt8) -> Bool {
        skipSpace()
        return skipByte(byte)
    }

    private mutating func skipByte(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipDigits() -> Int {
        let start = index
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { index += 1 }
        return index - start
    }

    private func problem(_ text: String) -> JSONProblem { JSONProblem(offset: min(index, bytes.count), problem: text) }
}
