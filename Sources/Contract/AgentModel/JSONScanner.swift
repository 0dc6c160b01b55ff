// More than 400 lines: one pass over the bytes of a document, whose steps share its position.

import Diagnostics
import Foundation

/// Goes through the bytes of a JSON document once (RFC 8259), for ``JSONSelection``.
struct JSONScanner {
    private enum Step {
        case member(Range<Int>)
        case element(Int)
    }

    private let bytes: UnsafeRawBufferPointer
    private var index = 0
    private(set) var output: [UInt8] = []
    private(set) var problems: [Int: String] = [:]
    private var path: [Step] = []
    /// Where in `path` the elements of the outermost list or map begin; nil outside of them.
    private var elementLevel: Int?

    /// Names that are compared with the wanted ones have no more bytes, escapes included.
    private static let nameLimit = 256

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    // MARK: What is wanted

    mutating func select(_ selection: JSONSelection) throws(JSONSelectionError) {
        skipSpace()
        let start = index
        switch (selection, try first()) {
        case (.object(let members), UInt8(ascii: "{")): try selectObject(members)
        case (.map(let member, let limit), UInt8(ascii: "{")): try selectMap(member, limit: limit)
        case (.list(let element, let limit), UInt8(ascii: "[")): try selectList(element, limit: limit)
        case (.text, UInt8(ascii: "{")), (.text, UInt8(ascii: "[")):
            try skipValue()
            try keepAsString(start..<index)
        case (.value(let limit), UInt8(ascii: "{")), (.value(let limit), UInt8(ascii: "[")):
            let depth = try skipValue()
            keepValue(start..<index, depth: depth, limit: limit)
        case (_, UInt8(ascii: "\"")): try keepString()
        case (_, UInt8(ascii: "{")):
            try skipValue()
            output += "{}".utf8
        case (_, UInt8(ascii: "[")):
            try skipValue()
            // An empty one is taken for an empty map, as PHP writes that.
            let isEmpty = bytes[(start + 1)..<(index - 1)].allSatisfy(Self.isSpace)
            output += (isEmpty ? "[]" : "[0]").utf8
        default:
            try skipScalar()
            output.append(contentsOf: bytes[start..<index])
        }
    }

    private mutating func selectObject(_ members: [String: JSONSelection]) throws(JSONSelectionError) {
        output.append(UInt8(ascii: "{"))
        var seen: [String] = []
        try eachMember { (scanner: inout JSONScanner, name: Range<Int>) throws(JSONSelectionError) in
            guard let text = scanner.name(name), let selection = members[text], !seen.contains(text) else {
                try scanner.skipValue()
                return
            }
            if !seen.isEmpty { scanner.output.append(UInt8(ascii: ",")) }
            seen.append(text)
            scanner.output.append(contentsOf: scanner.bytes[(name.lowerBound - 1)...name.upperBound])
            scanner.output.append(UInt8(ascii: ":"))
            try scanner.select(selection)
        }
        output.append(UInt8(ascii: "}"))
    }

    private mutating func selectMap(_ member: JSONSelection, limit: Int) throws(JSONSelectionError) {
        output.append(UInt8(ascii: "{"))
        var count = 0
        try eachMember { (scanner: inout JSONScanner, name: Range<Int>) throws(JSONSelectionError) in
            count += 1
            guard count <= limit else { throw .tooMany(path: scanner.pathText(scanner.path.dropLast()), limit: limit) }
            if let (offset, problem) = scanner.problem(ofString: name) { throw scanner.error(problem, at: offset) }
            if count > 1 { scanner.output.append(UInt8(ascii: ",")) }
            scanner.output.append(contentsOf: scanner.bytes[(name.lowerBound - 1)...name.upperBound])
            scanner.output.append(UInt8(ascii: ":"))
            try scanner.selectElement(member)
        }
        output.append(UInt8(ascii: "}"))
    }

    private mutating func selectList(_ element: JSONSelection, limit: Int) throws(JSONSelectionError) {
        output.append(UInt8(ascii: "["))
        index += 1
        skipSpace()
        var count = 0
        while true {
            if count == 0, peek == UInt8(ascii: "]") { break }
            guard count < limit else { throw .tooMany(path: pathText(path[...]), limit: limit) }
            if count > 0 { output.append(UInt8(ascii: ",")) }
            path.append(.element(count))
            try selectElement(element)
            path.removeLast()
            count += 1
            skipSpace()
            guard peek == UInt8(ascii: ",") else { break }
            index += 1
        }
        try expect(UInt8(ascii: "]"), "a comma or the end of an array is missing")
        output.append(UInt8(ascii: "]"))
    }

    private mutating func selectElement(_ selection: JSONSelection) throws(JSONSelectionError) {
        let isOutermost = elementLevel == nil
        if isOutermost { elementLevel = path.count }
        defer { if isOutermost { elementLevel = nil } }
        try select(selection)
    }

    /// Calls with the range of each member's name, without its quotes, in front of the value.
    private mutating func eachMember(
        _ body: (inout JSONScanner, Range<Int>) throws(JSONSelectionError) -> Void
    ) throws(JSONSelectionError) {
        index += 1
        skipSpace()
        if peek == UInt8(ascii: "}") {
            index += 1
            return
        }
        while true {
            let name = try skipName()
            path.append(.member(name))
            try body(&self, name)
            path.removeLast()
            skipSpace()
            guard peek == UInt8(ascii: ",") else { break }
            index += 1
        }
        try expect(UInt8(ascii: "}"), "a comma or the end of an object is missing")
    }

    // MARK: What is kept

    private mutating func keepString() throws(JSONSelectionError) {
        let start = index
        try skipString()
        guard let (offset, problem) = problem(ofString: (start + 1)..<(index - 1)) else {
            output.append(contentsOf: bytes[start..<index])
            return
        }
        try replace(problem, at: offset)
    }

    /// The text of an object or array as a string.
    private mutating func keepAsString(_ range: Range<Int>) throws(JSONSelectionError) {
        guard String(validating: bytes[range], as: UTF8.self) != nil else {
            try replace("it is not UTF-8", at: range.lowerBound)
            return
        }
        output.appendJSONString(bytes[range])
    }

    private mutating func keepValue(_ range: Range<Int>, depth: Int, limit: Int) {
        if range.count > limit {
            output += "\"(a value over \(limit) bytes)\"".utf8
        } else if depth > JSONSelection.depthLimit {
            output += "\"(a value nested deeper than \(JSONSelection.depthLimit))\"".utf8
        } else {
            output.append(contentsOf: bytes[range])
        }
    }

    /// Takes a string that is no text out of its element, or ends the scan outside of one.
    private mutating func replace(_ problem: String, at offset: Int) throws(JSONSelectionError) {
        guard let elementLevel else { throw error(problem, at: offset) }
        output += "false".utf8
        let outermost = path.prefix(elementLevel).last
        guard case .element(let number) = outermost, problems[number] == nil else { return }
        let place = pathText(path[elementLevel...])
        problems[number] = (place.isEmpty ? "" : "\(quoted(place)), ") + "at byte \(offset) of the list: \(problem)"
    }

    // MARK: What is skipped

    /// Goes behind the value that begins here, without recursion: the depth is the sender's choice.
    /// - Returns: how deep objects and arrays stood in each other.
    @discardableResult
    mutating func skipValue() throws(JSONSelectionError) -> Int {
        var open = OpenContainers()
        while true {
            skipSpace()
            switch try first() {
            case UInt8(ascii: "{"):
                index += 1
                skipSpace()
                open.push(isObject: true)
                if peek != UInt8(ascii: "}") {
                    try skipName()
                    continue
                }
            case UInt8(ascii: "["):
                index += 1
                skipSpace()
                open.push(isObject: false)
                if peek != UInt8(ascii: "]") { continue }
            case UInt8(ascii: "\""): try skipString()
            default: try skipScalar()
            }
            guard try skipEnds(&open) else { return open.deepest }
        }
    }

    /// Behind a value: goes behind the ends of what it ends, and to the next value.
    /// - Returns: whether there is one.
    private mutating func skipEnds(_ open: inout OpenContainers) throws(JSONSelectionError) -> Bool {
        while let isObject = open.last {
            skipSpace()
            if peek == UInt8(ascii: ",") {
                index += 1
                if isObject { try skipName() }
                return true
            }
            if isObject {
                try expect(UInt8(ascii: "}"), "a comma or the end of an object is missing")
            } else {
                try expect(UInt8(ascii: "]"), "a comma or the end of an array is missing")
            }
            open.pop()
        }
        return false
    }

    /// A member's name and the colon behind it.
    /// - Returns: the name without its quotes.
    @discardableResult
    private mutating func skipName() throws(JSONSelectionError) -> Range<Int> {
        skipSpace()
        guard peek == UInt8(ascii: "\"") else { throw error("a name in quotes is missing", at: index) }
        let start = index + 1
        try skipString()
        let name = start..<(index - 1)
        skipSpace()
        try expect(UInt8(ascii: ":"), "a colon is missing")
        return name
    }

    /// Only the end is looked for: what is in a string is checked where it is kept.
    private mutating func skipString() throws(JSONSelectionError) {
        guard let base = bytes.baseAddress else { return }
        let start = index + 1
        var position = start
        while position < bytes.count, let quote = memchr(base + position, 0x22, bytes.count - position) {
            let end = UnsafeRawPointer(quote) - base
            var slashes = 0
            while end - slashes > start, bytes[end - slashes - 1] == UInt8(ascii: "\\") { slashes += 1 }
            if slashes % 2 == 0 {
                index = end + 1
                return
            }
            position = end + 1
        }
        throw error("a string has no end", at: index)
    }

    private mutating func skipScalar() throws(JSONSelectionError) {
        let start = index
        for word in ["true", "false", "null"] where bytes[index...].starts(with: word.utf8) {
            index += word.utf8.count
            return
        }
        skipByte(UInt8(ascii: "-"))
        let firstDigit = index
        var isNumber = skipDigits() > 0 && !(bytes[firstDigit] == UInt8(ascii: "0") && index - firstDigit > 1)
        if isNumber, skipByte(UInt8(ascii: ".")) { isNumber = skipDigits() > 0 }
        if isNumber, skipByte(UInt8(ascii: "e")) || skipByte(UInt8(ascii: "E")) {
            if !skipByte(UInt8(ascii: "+")) { skipByte(UInt8(ascii: "-")) }
            isNumber = skipDigits() > 0
        }
        guard isNumber else { throw error("there is no JSON value here", at: start) }
    }

    mutating func expectEnd() throws(JSONSelectionError) {
        skipSpace()
        guard index == bytes.count else { throw error("something follows the end of the JSON text", at: index) }
    }

    // MARK: Bytes

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private func first() throws(JSONSelectionError) -> UInt8 {
        guard let peek else { throw error("the text ends where a value is needed", at: index) }
        return peek
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private mutating func skipSpace() {
        while index < bytes.count, Self.isSpace(bytes[index]) { index += 1 }
    }

    private mutating func expect(_ byte: UInt8, _ problem: String) throws(JSONSelectionError) {
        guard peek == byte else {
            throw error(index < bytes.count ? problem : "the text ends here: \(problem)", at: index)
        }
        index += 1
    }

    @discardableResult
    private mutating func skipByte(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipDigits() -> Int {
        let start = index
        while index < bytes.count, (0x30...0x39).contains(bytes[index]) { index += 1 }
        return index - start
    }

    /// Where and why what stands between two quotes is no text; nil where it is one.
    private func problem(ofString range: Range<Int>) -> (offset: Int, problem: String)? {
        var isASCII = true
        var position = range.lowerBound
        while position < range.upperBound {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\\") {
                switch escape(at: position, before: range.upperBound) {
                case .success(let length): position += length
                case .failure(let error): return (position, error.problem)
                }
                continue
            }
            if byte < 0x20 { return (position, "a control character stands in a string") }
            if byte >= 0x80 { isASCII = false }
            position += 1
        }
        if isASCII || String(validating: bytes[range], as: UTF8.self) != nil { return nil }
        return (range.lowerBound, "a string is not UTF-8")
    }

    private struct EscapeError: Error { let problem: String }

    /// The length of an escape (RFC 8259, section 7), both halves of a surrogate pair together.
    private func escape(at position: Int, before end: Int) -> Result<Int, EscapeError> {
        guard position + 1 < end else { return .failure(EscapeError(problem: "an escape is cut off")) }
        guard bytes[position + 1] == UInt8(ascii: "u") else {
            return "\"\\/bfnrt".utf8.contains(bytes[position + 1])
                ? .success(2) : .failure(EscapeError(problem: "a string has an escape that JSON doesn't know"))
        }
        guard let unit = codeUnit(at: position, before: end) else {
            return .failure(EscapeError(problem: "\\u is not followed by four hexadecimal digits"))
        }
        guard (0xD800..<0xE000).contains(unit) else { return .success(6) }
        if unit < 0xDC00, let second = codeUnit(at: position + 6, before: end), (0xDC00..<0xE000).contains(second) {
            return .success(12)
        }
        return .failure(EscapeError(problem: "\\u\(String(unit, radix: 16)) is half of a surrogate pair"))
    }

    private func codeUnit(at position: Int, before end: Int) -> Int? {
        guard position + 6 <= end, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u")
        else {
            return nil
        }
        let digits = bytes[(position + 2)..<(position + 6)]
        guard digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit && $0 < 0x80 }) else { return nil }
        return Int(String(decoding: digits, as: UTF8.self), radix: 16)
    }

    /// A member's name; nil where it is none of those that are wanted.
    private func name(_ range: Range<Int>) -> String? {
        guard range.count <= Self.nameLimit else { return nil }
        guard bytes[range].contains(UInt8(ascii: "\\")) else {
            return String(validating: bytes[range], as: UTF8.self)
        }
        guard problem(ofString: range) == nil else { return nil }
        return try? JSONDecoder().decode(String.self, from: Data(bytes[(range.lowerBound - 1)...range.upperBound]))
    }

    // MARK: Errors

    private func error(_ problem: String, at offset: Int) -> JSONSelectionError {
        .syntax(path: pathText(path[...]), offset: offset, problem: problem)
    }

    private func pathText(_ steps: ArraySlice<Step>) -> String {
        steps.reduce(into: "") { text, step in
            switch step {
            case .element(let number): text += "[\(number)]"
            case .member(let range):
                let name = String(decoding: bytes[range].prefix(Self.nameLimit), as: UTF8.self)
                text += (text.isEmpty ? "" : ".") + name
            }
        }
    }
}
