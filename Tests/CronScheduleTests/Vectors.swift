import Foundation

/// The data that `Vectors/generate.py` made with croniter.
enum Vectors {
    struct Row: Decodable, Sendable, CustomStringConvertible {
        var expression: String
        var zone: String?
        var start: Int64
        var gaps: [Int64]

        init(from decoder: any Decoder) throws {
            var container = try decoder.unkeyedContainer()
            expression = try container.decode(String.self)
            zone = try? container.decode(String.self)
            start = try container.decode(Int64.self)
            gaps = try container.decode([Int64].self)
        }

        var description: String { "\(expression) after \(start) in \(zone ?? "UTC")" }
    }

    /// Everything after the comment in the first row.
    static func rows(_ file: String) throws -> [Row] {
        try entries(file).compactMap(\.row)
    }

    static func rejected() throws -> [String] {
        try entries("rejected.json").dropFirst().compactMap(\.text)
    }

    private struct Entry: Decodable {
        var row: Row?
        var text: String?

        init(from decoder: any Decoder) throws {
            text = try? decoder.singleValueContainer().decode(String.self)
            row = text == nil ? try Row(from: decoder) : nil
        }
    }

    private static func entries(_ file: String) throws -> [Entry] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Vectors")
        return try JSONDecoder().decode([Entry].self, from: Data(contentsOf: folder.appending(path: file)))
    }
}
