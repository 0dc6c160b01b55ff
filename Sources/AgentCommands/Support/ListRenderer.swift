import AgentModel
import Foundation

/// Something that `list` and `show` commands print.
protocol Listable: Encodable {
    /// The columns' names, in upper case.
    static var header: [String] { get }
    /// One cell a column.
    var cells: [String] { get }
}

/// Prints every list: a table for people, or one JSON value a line.
struct ListRenderer {
    let isJSON: Bool

    func print(_ items: [some Listable]) throws {
        if isJSON {
            for item in items { Swift.print(try Self.json(item)) }
            return
        }
        printTable(items)
    }

    /// One JSON value on one line, keys sorted.
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(RFC3339.string(from: date))
        }
        return escapingControls(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// JSON lets stand as they are what some terminals take for controls: U+007F to U+009F. They are within strings.
    private static func escapingControls(_ json: String) -> String {
        guard json.unicodeScalars.contains(where: { 0x7F...0x9F ~= $0.value }) else { return json }
        return json.unicodeScalars.reduce(into: "") { text, scalar in
            if 0x7F...0x9F ~= scalar.value {
                text += "\\u00" + String(scalar.value, radix: 16)
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
    }

    private func printTable<Item: Listable>(_ items: [Item]) {
        let rows = [Item.header] + items.map { $0.cells.map(Self.oneLine) }
        let widths = Item.header.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let cells = row.enumerated().map { column, cell in
                column == row.count - 1 ? cell : cell.padding(toLength: widths[column], withPad: " ", startingAt: 0)
            }
            Swift.print(cells.joined(separator: "  "))
        }
    }

    private static func oneLine(_ text: String) -> String {
        Terminal.sanitized(text).replacing("\n", with: " ").replacing("\t", with: " ")
    }
}
