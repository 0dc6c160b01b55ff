import Diagnostics

extension DecodingError {
    /// What is wrong and where, in words fit for a log line: `"command" is missing`.
    public var sentence: String { sentence(below: 0) }

    /// The same, with the path from so many levels down the document.
    public func sentence(below depth: Int) -> String {
        func path(_ codingPath: [any CodingKey]) -> String { quoted(Self.path(codingPath.dropFirst(depth))) }
        return switch self {
        case .keyNotFound(let key, let context): "\(path(context.codingPath + [key])) is missing"
        case .valueNotFound(let type, let context):
            "\(path(context.codingPath)) is null where \(Self.words(for: type)) is needed"
        case .typeMismatch(let type, let context): "\(path(context.codingPath)) is not \(Self.words(for: type))"
        case .dataCorrupted(let context):
            context.codingPath.isEmpty
                ? "the text is not valid JSON" : "\(path(context.codingPath)): \(Self.words(for: context))"
        @unknown default: "it could not be decoded"
        }
    }

    private static func path(_ codingPath: ArraySlice<any CodingKey>) -> String {
        codingPath.reduce(into: "") { text, key in
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += (text.isEmpty ? "" : ".") + key.stringValue
            }
        }
    }

    /// JSON's own words: who reads them knows the document and not Swift.
    private static func words(for type: Any.Type) -> String {
        switch type {
        case is String.Type: "a text"
        case is Bool.Type: "true or false"
        case is any BinaryInteger.Type: "a whole number"
        case is any BinaryFloatingPoint.Type: "a number"
        case is [Any].Type: "a list"
        case is [String: Any].Type: "an object"
        default: "what is needed there"
        }
    }

    /// Foundation says of numbers alone that they are not representable in Swift.
    private static func words(for context: Context) -> String {
        context.debugDescription.contains("representable") ? "the number is too large" : context.debugDescription
    }
}
