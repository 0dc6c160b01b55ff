import Foundation

/// Prints what belongs to one thing, a labelled line each.
struct Fields {
    private static let width = 14

    /// Nothing where there is no text.
    func print(_ label: String, _ text: String?) {
        guard let text, !text.isEmpty else { return }
        // Further lines stand below the first one, so that none can pass for a field of its own.
        let indented = Terminal.sanitized(text).split(separator: "\n", omittingEmptySubsequences: false)
            .joined(separator: "\n" + String(repeating: " ", count: Self.width + 1))
        Swift.print("\(label.padding(toLength: Self.width, withPad: " ", startingAt: 0)) \(indented)")
    }

    /// A text of many lines below its label, indented.
    func printBlock(_ label: String, _ text: String?) {
        guard let text, !text.isEmpty else { return }
        Swift.print(label)
        var lines = Terminal.sanitized(text).split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        for line in lines { Swift.print("  \(line)") }
    }

    /// A line below a label.
    func printItem(_ text: String) {
        Swift.print("  " + Terminal.sanitized(text).replacing("\n", with: " "))
    }
}
