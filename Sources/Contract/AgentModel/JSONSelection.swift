import Diagnostics
public import Foundation

/// Which parts of a JSON document are read.
///
/// Foundation's decoder builds the whole document before it looks for the fields that are wanted: 60 MB of nested arrays
/// in a field that nobody knows take 1.5 GB. ``select(from:)`` goes through the bytes once, without recursion where the
/// sender decides on the depth, and copies only what is wanted. What is left is decoded.
public indirect enum JSONSelection: Sendable {
    /// A string, number, `true`, `false` or `null` as it stands. An object or an array in its place is emptied, so that
    /// the decoder refuses it without building it.
    case scalar
    /// A scalar, or the text of an object or array as a string: a decoder would lose `1.0` and long numbers.
    case text
    /// Any value up to this many bytes and ``depthLimit`` levels; a larger one becomes a string that says so.
    case value(byteLimit: Int)
    /// An object's members with these names, the first one of each name. Others are skipped.
    case object([String: JSONSelection])
    /// An object with any names, up to so many members.
    case map(JSONSelection, limit: Int)
    /// An array with up to so many elements.
    case list(JSONSelection, limit: Int)

    /// Levels of nesting that ``value(byteLimit:)`` leaves to a decoder, whose time grows with the cube of the depth.
    public static let depthLimit = 32

    /// The wanted parts of a document, in the encodings of RFC 8259 and RFC 4627.
    ///
    /// A string in an element of a list or map that is no Unicode text (a lone surrogate, a byte of Latin-1, a wrong
    /// escape) is replaced by `false`, which no string field accepts, and named in ``SelectedJSON/problems``: the other
    /// elements stay readable. Anywhere else it is an error.
    /// - Throws: `JSONSelectionError`.
    public func select(from document: Data) throws(JSONSelectionError) -> SelectedJSON {
        try Self.scan(document) { (scanner: inout JSONScanner) throws(JSONSelectionError) in
            try scanner.select(self)
        }
    }

    /// Checks that a document is JSON of whatever shape, and keeps nothing of it.
    /// - Throws: `JSONSelectionError.syntax`.
    public static func check(_ document: Data) throws(JSONSelectionError) {
        _ = try scan(document) { (scanner: inout JSONScanner) throws(JSONSelectionError) in try scanner.skipValue() }
    }

    private static func scan(
        _ document: Data, _ body: (inout JSONScanner) throws(JSONSelectionError) -> Void
    ) throws(JSONSelectionError) -> SelectedJSON {
        let document = inUTF8(document)
        let result = document.withUnsafeBytes { bytes -> Result<SelectedJSON, JSONSelectionError> in
            var scanner = JSONScanner(bytes)
            do throws(JSONSelectionError) {
                try body(&scanner)
                try scanner.expectEnd()
                return .success(SelectedJSON(text: Data(scanner.output), problems: scanner.problems))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// RFC 4627, section 3, allowed UTF-16 and UTF-32: a NUL or a byte order mark in the first bytes tells them.
    private static func inUTF8(_ document: Data) -> Data {
        let first = Array(document.prefix(4))
        if first.starts(with: [0xEF, 0xBB, 0xBF]) { return document.dropFirst(3) }
        let hasMark = first.starts(with: [0xFE, 0xFF]) || first.starts(with: [0xFF, 0xFE])
        guard first.count >= 2, hasMark || first.contains(0) else { return document }
        let encoding: String.Encoding =
            switch first.map({ $0 == 0 }) {
            case [true, true, false, false], [true, true, true, false]: .utf32BigEndian
            case [false, true, true, true], [false, false, true, true]: .utf32LittleEndian
            case [true, false, true, false]: .utf16BigEndian
            case [false, true, false, true]: .utf16LittleEndian
            default: .utf16
            }
        return String(data: document, encoding: encoding).map { Data($0.utf8) } ?? document
    }
}

/// What is wrong with a document as a whole.
public enum JSONSelectionError: Error, Equatable, Sendable {
    /// It is no JSON (RFC 8259). `path` is dotted, such as `data[3].id`, and empty for the whole document; `offset` is in
    /// bytes from its beginning.
    case syntax(path: String, offset: Int, problem: String)
    /// A list or map with more elements than are taken.
    case tooMany(path: String, limit: Int)

    /// Where and why: `at byte 17, in "data[3].id": a comma is missing`.
    public var sentence: String {
        switch self {
        case .syntax(let path, let offset, let problem):
            "at byte \(offset)" + (path.isEmpty ? "" : ", in \(quoted(path))") + ": \(problem)"
        case .tooMany(let path, let limit): "\(quoted(path)) has more than \(limit) elements"
        }
    }
}

/// The parts of a document that were wanted.
public struct SelectedJSON: Sendable {
    /// A smaller document of the same shape.
    public let text: Data
    /// By the index in the outermost list: where and why an element holds something that is no text.
    public let problems: [Int: String]

    static let problemsKey = CodingUserInfoKey(rawValue: "runbook-agent.problems")!

    /// Decodes the document. ``TaskList`` takes the problems over.
    /// - Throws: `DecodingError`.
    public func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let decoder = JSONDecoder()
        decoder.userInfo[Self.problemsKey] = problems
        return try decoder.decode(type, from: text)
    }
}
