/// Which days of a month an expression fires on: its day-of-month and day-of-week fields together.
struct DayRule: Sendable, Hashable {
    /// How the two fields are joined, with croniter as the judge.
    enum Junction: Sendable, Hashable {
        /// One of the fields is unrestricted: a day must suit both.
        case both
        /// Two plain restricted fields: a day suits one of them.
        case either
        /// Day-of-month is restricted, day-of-week has `#` or `L5`: the weekday decides alone, as long as there is a
        /// day that suits both.
        case weekdayIfBothCanMeet
        /// `15W` with a plain restricted day-of-week: the `W` decides alone, as long as there is a day that suits both.
        case monthDayIfBothCanMeet
    }

    var junction: Junction
    /// Bits 1 to 31; all of them for an unrestricted field.
    var monthDays: UInt32
    var hasLastDay: Bool
    /// The day of `15W`, 0 for none.
    var nearestWeekdayTo: Int
    /// Bits 0 to 6; all of them for an unrestricted field.
    var weekdays: UInt32
    /// The weekdays with an entry in `nthWeekdays` or `lastWeekdays`. Where there is one, `weekdays` has no say.
    var ordinalWeekdays: UInt32
    var nthWeekdays: SIMD8<UInt32>
    var lastWeekdays: UInt32

    /// The matching days of a month as bits 1 to 31.
    /// - Parameters:
    ///   - firstWeekday: the weekday of the 1st, 0 for Sunday.
    ///   - length: the days in the month.
    ///   - meeting: ask for the days that suit both fields, whatever `junction` says.
    func days(firstWeekday: Int, length: Int, meeting: Bool = false) -> UInt32 {
        let all: UInt32 = ((1 &<< UInt32(truncatingIfNeeded: length)) &- 1) &<< 1
        switch junction {
        case _ where meeting, .both:
            return monthDays(firstWeekday, length) & weekdays(firstWeekday, length) & all
        case .either:
            return (monthDays(firstWeekday, length) | weekdays(firstWeekday, length)) & all
        case .weekdayIfBothCanMeet:
            return weekdays(firstWeekday, length) & all
        case .monthDayIfBothCanMeet:
            return monthDays(firstWeekday, length) & all
        }
    }

    /// A day that suits both fields must exist for the schedule to fire at all.
    var mustMeet: Bool { junction == .weekdayIfBothCanMeet || junction == .monthDayIfBothCanMeet }

    private func monthDays(_ firstWeekday: Int, _ length: Int) -> UInt32 {
        if nearestWeekdayTo != 0 { return 1 &<< UInt32(nearestWeekday(firstWeekday, length)) }
        return hasLastDay ? monthDays | 1 &<< UInt32(length) : monthDays
    }

    private func weekdays(_ firstWeekday: Int, _ length: Int) -> UInt32 {
        if ordinalWeekdays != 0 { return ordinalDays(firstWeekday, length) }
        // Turned so that bit 0 is the weekday of the 1st, then laid out five weeks long.
        let shift = UInt32(firstWeekday)
        let week = (weekdays &>> shift | weekdays &<< (7 &- shift)) & 0x7F
        return UInt32(truncatingIfNeeded: UInt64(week) &* 0x1020_4081 &<< 1)
    }

    private func ordinalDays(_ firstWeekday: Int, _ length: Int) -> UInt32 {
        var result: UInt32 = 0
        var pending = ordinalWeekdays
        while pending != 0 {
            let weekday = pending.trailingZeroBitCount
            pending &= pending &- 1
            let first = weekday >= firstWeekday ? weekday - firstWeekday + 1 : weekday - firstWeekday + 8
            result |= UInt32(truncatingIfNeeded: UInt64(nthWeekdays[weekday]) &<< UInt64(first))
            if lastWeekdays & (1 &<< UInt32(weekday)) != 0 {
                result |= 1 &<< UInt32(first + (length - first) / 7 * 7)
            }
        }
        return result
    }

    /// Monday to Friday nearest to the day, without leaving the month; the last day stands for one past it.
    private func nearestWeekday(_ firstWeekday: Int, _ length: Int) -> Int {
        let day = min(nearestWeekdayTo, length)
        switch (firstWeekday + day - 1) % 7 {
        case 6: return day > 1 ? day - 1 : day + 2
        case 0: return day < length ? day + 1 : day - 2
        default: return day
        }
    }
}
