/// A field of a cron expression, in the order in which they are written.
public enum CronField: Int, Sendable, CaseIterable {
    case minute, hour, dayOfMonth, month, dayOfWeek, second, year

    /// As it is called in errors and in `docs/cron.md`.
    public var name: String {
        switch self {
        case .minute: "minute"
        case .hour: "hour"
        case .dayOfMonth: "day-of-month"
        case .month: "month"
        case .dayOfWeek: "day-of-week"
        case .second: "second"
        case .year: "year"
        }
    }

    /// The values it ranges over. Sunday is 0; a 7 is read as one.
    public var range: ClosedRange<Int> {
        switch self {
        case .minute, .second: 0...59
        case .hour: 0...23
        case .dayOfMonth: 1...31
        case .month: 1...12
        case .dayOfWeek: 0...6
        case .year: 1970...2099
        }
    }

    /// What may stand in it, for an error.
    var allowed: String {
        switch self {
        case .minute, .second: "*, 0-59, lists, ranges (10-20) and steps (*/5, 10-20/2)"
        case .hour: "*, 0-23, lists, ranges (8-17) and steps (*/2, 8-17/3)"
        case .dayOfMonth: "*, ?, 1-31, L (last day), 15W alone (nearest weekday), lists, ranges (1-15) and steps (*/2)"
        case .month: "*, 1-12 or jan-dec, lists, ranges (jun-aug) and steps (*/3)"
        case .dayOfWeek:
            "*, ?, 0-7 or sun-sat (0 and 7 are Sunday), 5#2 (second Friday), L5 (last Friday), lists, ranges "
                + "(mon-fri) and steps (*/2)"
        case .year: "*, 1970-2099, lists, ranges (2026-2030) and steps (2026/2)"
        }
    }

    /// The value of a name in lower case, nil where the field has no such name.
    func value(ofName name: some Collection<UInt8>) -> Int? {
        let names: [StaticString]
        switch self {
        case .month: names = Self.months
        case .dayOfWeek: names = Self.weekdays
        default: return nil
        }
        guard name.count == 3 else { return nil }
        let index = names.firstIndex { candidate in
            candidate.withUTF8Buffer { $0.elementsEqual(name) }
        }
        return index.map { $0 + range.lowerBound }
    }

    private static let months: [StaticString] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let weekdays: [StaticString] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
}
