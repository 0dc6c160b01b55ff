import Diagnostics
import Foundation

/// Prints what belongs to one thing, a labelled line each.
public struct Fields {
    private static let width = 14

    public init() {}

    /// Nothing where there is no text.
    public func print(_ label: String, _ text: String?) {
        guard let text, !text.isEmpty else { return }
        // Further lines stand below the first one, so that none can pass for a field of its own.
        let indented = text.withoutControlCharacters.split(separator: "\n", omittingEmptySubsequences: false)
            .joined(separator: "\n" + String(repeating: " ", count: Self.width + 1))
        Swift.print("\(label.padding(toLength: Self.width, withPad: " ", startingAt: 0)) \(indented)")
    }

    /// A text of many lines below its label, indented.
    public func printBlock(_ label: String, _ text: String?) {
        guard let text, !text.isEmpty else { return }
        Swift.print(label)
        var lines = text.withoutControlCharacters.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        for line in lines { Swift.print("  \(line)") }
    }

    /// A line below a label.
    public func printItem(_ text: String) {
        Swift.print("  " + text.withoutControlCharacters.replacing("\n", with: " "))
    }
}
