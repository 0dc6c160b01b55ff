/// The offsets of one time zone, past and future, from the tz database.
///
/// A value is a snapshot: it doesn't follow an update of the files. Read it once and keep it; copies share storage.
public struct TimeZoneRules: Sendable, CustomStringConvertible {
    /// The name it was asked for by, such as `Europe/Berlin`; for the host's zone the one it goes by there.
    public let identifier: String
    let table: OffsetTable

    /// Coordinated Universal Time; needs no files.
    public static let utc = TimeZoneRules(identifier: "UTC", table: OffsetTable(fixed: 0))

    init(identifier: String, table: OffsetTable) {
        self.identifier = identifier
        self.table = table
    }

    init(identifier: String, file: TZifFile) {
        self.init(
            identifier: identifier,
            table: OffsetTable(initial: file.initial, changes: file.changes, rule: file.footer))
    }

    /// Seconds east of UTC at an instant.
    /// - Parameter instant: seconds since 1970-01-01T00:00:00Z.
    public func offset(at instant: Int64) -> Int {
        Int(table.segment(at: instant).offset)
    }

    public var description: String { identifier }
}
