import Diagnostics
import Foundation

/// Something that `list` and `show` commands print.
public protocol Listable: Encodable {
    /// The columns' names, in upper case.
    static var header: [String] { get }
    /// One cell a column.
    var cells: [String] { get }
    /// The columns, by their index, that are cut where a line would be longer than ``ListRenderer/width``. Nothing is cut
    /// where there are none.
    static var shrinking: [Int] { get }
}

extension Listable {
    public static var shrinking: [Int] { [] }
}

/// Prints every list: a table for people, or one JSON value a line.
public struct ListRenderer {
    /// Characters of a line of those tables that fit a screen.
    static let width = 100
    /// A column is cut to this, and not shorter.
    private static let leastWidth = 8

    let isJSON: Bool

    /// Whether the lines of tables are cut to a screen's width: ids are whole where a program reads them.
    let isCut: Bool

    public init(isJSON: Bool, isCut: Bool = true) {
        self.isJSON = isJSON
        self.isCut = isCut
    }

    public func print(_ items: [some Listable]) throws {
        if isJSON {
            for item in items { Swift.print(try Self.json(item)) }
            return
        }
        printTable(items)
    }

    /// One JSON value on one line, keys sorted.
    public static func json(_ value: some Encodable) throws -> String {
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
        var widths = Item.header.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        if isCut { Self.shrink(&widths, Item.shrinking) }
        for row in rows {
            let cells = row.enumerated().map { column, cell in
                let cell = Self.shrinkingCell(cell, widths[column])
                return column == row.count - 1
                    ? cell : cell.padding(toLength: widths[column], withPad: " ", startingAt: 0)
            }
            var line = cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            Swift.print(line)
        }
    }

    /// Takes from the widest of these columns until a line fits.
    private static func shrink(_ widths: inout [Int], _ columns: [Int]) {
        var excess = widths.reduce(0, +) + 2 * (widths.count - 1) - width
        while excess > 0, let widest = columns.max(by: { widths[$0] < widths[$1] }), widths[widest] > leastWidth {
            widths[widest] -= 1
            excess -= 1
        }
    }

    /// A text with its middle cut out: ids differ at the end, and names at the beginning.
    private static func shrinkingCell(_ text: String, _ width: Int) -> String {
        guard text.count > width else { return text }
        let end = (width - 1) * 2 / 3
        return text.prefix(width - 1 - end) + "…" + text.suffix(end)
    }

    private static func oneLine(_ text: String) -> String {
        text.withoutControlCharacters.replacing("\n", with: " ").replacing("\t", with: " ")
    }
}
