/// The values that one field of an expression names, while it is read.
struct FieldValues: Equatable {
    /// Bits by distance from the field's lowest value. Years need 130 of them.
    private var words: SIMD4<UInt64> = .zero
    /// A `*` was among them. It makes the field unrestricted, whatever stands beside it.
    var hasWildcard = false
    /// An `L` was among them (day-of-month).
    var hasLastDay = false
    /// The day of `15W`, 0 for none (day-of-month).
    var nearestWeekdayTo = 0
    /// By weekday: bit 7 × (n - 1) for the n-th of a month, as in `5#2`.
    var nthWeekdays: SIMD8<UInt32> = .zero
    /// Bits of the weekdays of which the last is meant, as in `L5`.
    var lastWeekdays: UInt32 = 0

    let field: CronField

    init(field: CronField) { self.field = field }

    mutating func insert(_ value: Int) {
        let distance = value - field.range.lowerBound
        words[distance >> 6] |= 1 << UInt64(distance & 63)
    }

    func contains(_ value: Int) -> Bool {
        let distance = value - field.range.lowerBound
        return words[distance >> 6] & (1 << UInt64(distance & 63)) != 0
    }

    /// How many distinct entries croniter would count: the `*` and the `L` are one each.
    var count: Int {
        (0..<4).reduce(0) { $0 + words[$1].nonzeroBitCount } + (hasWildcard ? 1 : 0) + (hasLastDay ? 1 : 0)
    }

    /// It has as many entries as the field has values.
    var namesAll: Bool { count == field.range.count }

    /// The weekdays that have an n-th or a last.
    var ordinalWeekdays: UInt32 {
        (0..<7).reduce(lastWeekdays) { nthWeekdays[$1] == 0 ? $0 : $0 | 1 << UInt32($1) }
    }

    /// Bits by value (not by distance), every one of them for an unrestricted field. Not for years.
    var mask: UInt64 {
        if hasWildcard {
            let upper = UInt64(field.range.upperBound), lower = UInt64(field.range.lowerBound)
            return ((1 << (upper + 1)) - 1) & ~((1 << lower) - 1)
        }
        return words[0] << UInt64(field.range.lowerBound)
    }

    /// Bits by distance from 1970; nil for an unrestricted field.
    var years: SIMD4<UInt64>? { hasWildcard ? nil : words }
}
