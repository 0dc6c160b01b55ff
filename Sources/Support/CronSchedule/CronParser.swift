import Diagnostics

/// Reads an expression in croniter's dialect.
///
/// What is accepted is what croniter 7.0.0 accepts, its odd corners included: existing schedules were written for it.
/// The few exceptions are in `docs/cron.md`.
struct CronParser {
    private typealias Bytes = ArraySlice<UInt8>

    /// A list of every value of every field takes some 1,200 bytes.
    static let longestExpression = 4_096

    private static let shorthands = [
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    ]

    private let expression: String
    private let parts: [Bytes]

    init(_ expression: String) throws(CronScheduleError) {
        self.expression = expression
        guard expression.utf8.count <= Self.longestExpression else {
            throw .invalidExpression(
                expression: expression, field: nil, problem: "it is longer than \(Self.longestExpression) bytes")
        }
        let lowered = expression.lowercased()
        if lowered.hasPrefix("@"), Self.shorthands[lowered] == nil {
            throw .invalidExpression(
                expression: expression, field: nil,
                problem: "the shorthands are \(Self.shorthands.keys.sorted().joined(separator: ", "))")
        }
        let text = Array((Self.shorthands[lowered] ?? lowered).utf8)
        parts = text.split { $0 == 0x20 || (0x09...0x0D).contains($0) }
        guard (5...7).contains(parts.count) else {
            throw .invalidExpression(
                expression: expression, field: nil,
                problem: "it has \(parts.count) field\(parts.count == 1 ? "" : "s") where 5 to 7 are needed: "
                    + "minute hour day-of-month month day-of-week [second [year]]")
        }
    }

    /// The fields as written, 5 to 7 of them, in the order of `CronField`.
    func fields() throws(CronScheduleError) -> [FieldValues] {
        var fields: [FieldValues] = []
        for (field, part) in zip(CronField.allCases, parts) {
            fields.append(try values(of: part, for: field))
        }
        for index in fields.indices where fields[index].namesAll && meansWildcard(fields[index].field) {
            var wildcard = FieldValues(field: fields[index].field)
            wildcard.hasWildcard = true
            wildcard.nthWeekdays = fields[index].nthWeekdays
            wildcard.lastWeekdays = fields[index].lastWeekdays
            fields[index] = wildcard
        }
        try checkWeekdayMixture(fields[CronField.dayOfWeek.rawValue])
        return fields
    }

    /// Every value written out is as good as a `*`, but for the two day fields: there it stays a restriction, as long
    /// as the other one has no `*` in it.
    private func meansWildcard(_ field: CronField) -> Bool {
        switch field {
        case .dayOfMonth: parts[CronField.dayOfWeek.rawValue].contains(Self.star)
        case .dayOfWeek: parts[CronField.dayOfMonth.rawValue].contains(Self.star)
        default: true
        }
    }

    private func checkWeekdayMixture(_ weekdays: FieldValues) throws(CronScheduleError) {
        let ordinals = weekdays.ordinalWeekdays
        guard ordinals != 0, !weekdays.namesAll else { return }
        let plain = (0...6).contains { weekdays.contains($0) && ordinals & (1 << UInt32($0)) == 0 }
        if plain {
            throw refused(.dayOfWeek, "plain weekdays can't stand in one list with # or L")
        }
    }

    // MARK: One field

    private func values(of part: Bytes, for field: CronField) throws(CronScheduleError) -> FieldValues {
        var values = FieldValues(field: field)
        try refuseHashed(part, in: field)
        if part.contains(UInt8(ascii: "?")) {
            guard part.count == 1, field == .dayOfMonth || field == .dayOfWeek else {
                throw refused(field, "a ? stands alone, in day-of-month or day-of-week")
            }
            values.hasWildcard = true
            return values
        }
        let elements = part.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        for element in elements {
            if field == .dayOfMonth, let day = nearestWeekday(element) {
                guard elements.count == 1 else {
                    throw refused(field, "\(shown(element)) can't stand in a list")
                }
                guard field.range.contains(day) else { throw outOfRange(element, in: field) }
                values.nearestWeekdayTo = day
                values.insert(day)
            } else if field == .dayOfWeek, let (base, ordinal) = try ordinalWeekday(element) {
                try insertOrdinal(base, ordinal, element, into: &values)
            } else {
                try insert(element, into: &values)
            }
        }
        return values
    }

    /// `H` and `R` as a whole field, with `(1-5)` and `/2` after them.
    private func refuseHashed(_ part: Bytes, in field: CronField) throws(CronScheduleError) {
        guard let first = part.first, first == UInt8(ascii: "h") || first == UInt8(ascii: "r") else { return }
        let next = part.dropFirst().first
        guard next == nil || next == UInt8(ascii: "(") || next == Self.slash else { return }
        throw refused(field, "hashed (H) and random (R) values have no fixed meaning without an id; write a number")
    }

    private func insert(_ element: Bytes, into values: inout FieldValues) throws(CronScheduleError) {
        let field = values.field
        if element.elementsEqual([Self.star]) {
            values.hasWildcard = true
        } else if field == .dayOfMonth, element.elementsEqual([Self.l]) {
            values.hasLastDay = true
        } else if element.contains(Self.slash) || element.contains(Self.hyphen) {
            for value in try span(element, in: field).values(in: field) { values.insert(value) }
        } else {
            values.insert(try single(element, element, in: field))
        }
    }

    /// A value on its own, in its range.
    private func single(_ text: Bytes, _ element: Bytes, in field: CronField) throws(CronScheduleError) -> Int {
        let value = try number(text, element, in: field)
        guard field.range.contains(value) else { throw outOfRange(element, in: field) }
        return value
    }

    /// `*/2`, `5/2`, `1-5` and `1-5/2`.
    private func span(_ element: Bytes, in field: CronField) throws(CronScheduleError) -> CronSpan {
        var base = element
        var step: Int?
        if let slash = element.lastIndex(of: Self.slash) {
            base = element[..<slash]
            guard let digits = decimal(element[(slash + 1)...]), digits > 0 else {
                throw refused(field, "the step of \(shown(element)) is not a whole number above 0")
            }
            step = digits
        }
        if step != nil, base.elementsEqual([Self.star]) {
            return CronSpan(low: field.range.lowerBound, high: field.range.upperBound, step: step ?? 1, isOpen: true)
        }
        let span: CronSpan
        if let hyphen = base.firstIndex(of: Self.hyphen) {
            let upper = base[(hyphen + 1)...]
            let low = try number(base[..<hyphen], element, in: field)
            let endsLast = field == .dayOfMonth && upper.elementsEqual([Self.l])
            let high = endsLast ? 31 : try number(upper, element, in: field)
            span = CronSpan(low: low, high: high, step: step ?? 1, isOpen: false)
        } else {
            let low = try number(base, element, in: field)
            span = CronSpan(low: low, high: field.range.upperBound, step: step ?? 1, isOpen: true)
        }
        guard span.isInside(field.range) else { throw outOfRange(element, in: field) }
        return span
    }

    // MARK: Special days

    /// The day of `15w` or `w15`.
    private func nearestWeekday(_ element: Bytes) -> Int? {
        let w = UInt8(ascii: "w")
        if element.last == w { return decimal(element.dropLast()) }
        return element.first == w ? decimal(element.dropFirst()) : nil
    }

    private enum Ordinal {
        case nth(Int)
        case last
    }

    /// What stands before and after the `#` of `fri#2`, or after the `l` of `l5`.
    private func ordinalWeekday(_ element: Bytes) throws(CronScheduleError) -> (Bytes, Ordinal)? {
        if let sign = element.firstIndex(of: UInt8(ascii: "#")) {
            guard let nth = decimal(element[(sign + 1)...]), (1...5).contains(nth) else {
                throw refused(.dayOfWeek, "after the # of \(shown(element)) comes a number from 1 to 5")
            }
            return (element[..<sign], .nth(nth))
        }
        if element.first == Self.l, decimal(element.dropFirst()) != nil { return (element.dropFirst(), .last) }
        return nil
    }

    private func insertOrdinal(
        _ base: Bytes, _ ordinal: Ordinal, _ element: Bytes, into values: inout FieldValues
    ) throws(CronScheduleError) {
        var weekdays: [Int]
        if base.contains(Self.hyphen) {
            let ends = base.split(separator: Self.hyphen, omittingEmptySubsequences: false)
            let names = ends.compactMap(CronField.dayOfWeek.value(ofName:))
            guard ends.count == 2, names.count == 2 else {
                throw refused(.dayOfWeek, "a range before # is of names, as in mon-wed#1, not \(shown(element))")
            }
            weekdays = CronSpan(low: names[0], high: names[1], step: 1, isOpen: false).values(in: .dayOfWeek)
        } else {
            weekdays = [try single(base, element, in: .dayOfWeek)]
        }
        for weekday in weekdays {
            values.insert(weekday)
            switch ordinal {
            case .nth(let nth): values.nthWeekdays[weekday] |= 1 << UInt32(7 * (nth - 1))
            case .last: values.lastWeekdays |= 1 << UInt32(weekday)
            }
        }
    }

    // MARK: Numbers and names

    private static let star = UInt8(ascii: "*")
    private static let slash = UInt8(ascii: "/")
    private static let hyphen = UInt8(ascii: "-")
    private static let l = UInt8(ascii: "l")

    private func number(_ text: Bytes, _ element: Bytes, in field: CronField) throws(CronScheduleError) -> Int {
        if let value = decimal(text) { return field == .dayOfWeek && value == 7 ? 0 : value }
        if let value = field.value(ofName: text) { return value }
        if element.isEmpty { throw refused(field, "an entry of its list is empty") }
        throw refused(field, "\(shown(element)) is none of its forms")
    }

    /// A number of ASCII digits, however many; it saturates far above every field's range.
    private func decimal(_ text: Bytes) -> Int? {
        guard !text.isEmpty else { return nil }
        var value = 0
        for byte in text {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = min(value * 10 + Int(byte - UInt8(ascii: "0")), 1_000_000)
        }
        return value
    }

    // MARK: Errors

    private func shown(_ element: Bytes) -> String { quoted(String(decoding: element, as: UTF8.self), limit: 40) }

    private func refused(_ field: CronField, _ problem: String) -> CronScheduleError {
        .invalidExpression(expression: expression, field: field, problem: problem)
    }

    private func outOfRange(_ element: Bytes, in field: CronField) -> CronScheduleError {
        refused(field, "\(shown(element)) is out of its range")
    }
}
