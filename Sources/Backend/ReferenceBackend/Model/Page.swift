/// A part of a list and where the next part begins.
public struct Page<Element: Sendable>: Sendable {
    public var elements: [Element]
    /// The ``PageRequest/cursor`` of the next page; nil at the end.
    public var nextCursor: Int64?
}

/// Which part of a list is wanted.
public struct PageRequest: Sendable {
    /// How many elements at most, 1 to ``maximumLimit``.
    public var limit: Int
    /// As the page before gave it; nil for the first.
    public var cursor: Int64?

    public static let defaultLimit = 50
    public static let maximumLimit = 200

    /// - Throws: `ReferenceBackendError.invalidField` for a limit out of range.
    public init(limit: Int = PageRequest.defaultLimit, cursor: Int64? = nil) throws(ReferenceBackendError) {
        guard (1...Self.maximumLimit).contains(limit) else {
            throw .invalidField("limit", problem: "it is a number from 1 to \(Self.maximumLimit)")
        }
        self.limit = limit
        self.cursor = cursor
    }

    /// The first page, as long as it may be.
    public static var first: PageRequest { PageRequest(uncheckedLimit: maximumLimit) }

    private init(uncheckedLimit: Int) {
        limit = uncheckedLimit
        cursor = nil
    }
}

extension Page {
    /// Cuts a page from rows of which one more than `limit` was asked for.
    init<Row>(rows: [Row], limit: Int, sequence: (Row) -> Int64, element: (Row) throws -> Element) rethrows {
        let shown = rows.prefix(limit)
        elements = try shown.map(element)
        nextCursor = rows.count > limit ? shown.last.map(sequence) : nil
    }
}
