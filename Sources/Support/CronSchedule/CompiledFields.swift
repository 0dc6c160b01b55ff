/// An expression as bit masks, and the search for the first local time that it matches.
///
/// Local times are seconds since 1970-01-01T00:00:00 on the wall clock, as if that were UTC.
struct CompiledFields: Sendable, Hashable {
    /// How many calendar years after the first are looked at.
    static let horizon = 50

    let hasSeconds: Bool
    let hasWildcardHour: Bool
    private let seconds: UInt64
    private let minutes: UInt64
    private let hours: UInt64
    /// Bits 1 to 12.
    private let months: UInt64
    /// Bits from 1970; nil for every year, also those past 2099.
    private let years: SIMD4<UInt64>?
    private let days: DayRule
    /// The first matching second of a day.
    private let firstOfDay: Int
    /// No year has a day for it.
    private var isImpossible = false

    init(_ fields: [FieldValues]) {
        func mask(_ field: CronField) -> UInt64 { fields[field.rawValue].mask }
        let monthDays = fields[CronField.dayOfMonth.rawValue]
        let weekdays = fields[CronField.dayOfWeek.rawValue]

        hasSeconds = fields.count > CronField.second.rawValue
        seconds = hasSeconds ? mask(.second) : 1
        minutes = mask(.minute)
        hours = mask(.hour)
        months = mask(.month)
        years = fields.count > CronField.year.rawValue ? fields[CronField.year.rawValue].years : nil
        hasWildcardHour = hours.nonzeroBitCount == 24
        firstOfDay =
            hours.trailingZeroBitCount * 3600 + minutes.trailingZeroBitCount * 60 + seconds.trailingZeroBitCount

        let areRestricted = !monthDays.hasWildcard && !weekdays.hasWildcard
        let junction: DayRule.Junction =
            switch (areRestricted, weekdays.ordinalWeekdays != 0, monthDays.nearestWeekdayTo != 0) {
            case (false, _, _), (true, true, true): .both
            case (true, false, false): .either
            case (true, true, false): .weekdayIfBothCanMeet
            case (true, false, true): .monthDayIfBothCanMeet
            }
        days = DayRule(
            junction: junction,
            monthDays: UInt32(truncatingIfNeeded: monthDays.mask), hasLastDay: monthDays.hasLastDay,
            nearestWeekdayTo: monthDays.nearestWeekdayTo,
            weekdays: UInt32(truncatingIfNeeded: weekdays.mask), ordinalWeekdays: weekdays.ordinalWeekdays,
            nthWeekdays: weekdays.nthWeekdays, lastWeekdays: weekdays.lastWeekdays)
        if years == nil { isImpossible = search(from: 0, meeting: days.mustMeet) == nil }
    }

    /// The first match at a local time or after it, nil when there is none up to the end of the horizon.
    func firstMatch(from local: Int64) -> Int64? {
        if isImpossible { return nil }
        // Without a year field any 50 years have every kind of year, and the answer was found once for all.
        if years != nil, days.mustMeet, search(from: Int(local), meeting: true) == nil { return nil }
        return search(from: Int(local), meeting: false).map(Int64.init)
    }

    private func search(from local: Int, meeting: Bool) -> Int? {
        var dayNumber = floorDivide(local, 86_400)
        var secondOfDay = local &- dayNumber &* 86_400
        if !hasSeconds {
            secondOfDay = (secondOfDay &+ 59) / 60 &* 60
            if secondOfDay == 86_400 {
                secondOfDay = 0
                dayNumber &+= 1
            }
        }
        let date = CivilDate(dayNumber: dayNumber)
        var earliest = date.day
        if includes(year: date.year), months & (1 &<< UInt64(date.month)) != 0 {
            let matching = matchingDays(date.year, date.month, startingAt: dayNumber &- date.day &+ 1, meeting)
            if matching & (1 &<< UInt32(date.day)) != 0, let time = timeOfDay(from: secondOfDay) {
                return dayNumber &* 86_400 &+ time
            }
            earliest = date.day &+ 1
            let later = earliest < 32 ? matching & ~((1 &<< UInt32(earliest)) &- 1) : 0
            if later != 0 {
                let day = later.trailingZeroBitCount
                return (dayNumber &- date.day &+ day) &* 86_400 &+ firstOfDay
            }
        }
        return searchMonths(after: date, meeting)
    }

    /// The first match in the months that follow the one of a date.
    private func searchMonths(after date: CivilDate, _ meeting: Bool) -> Int? {
        let lastYear = date.year &+ Self.horizon
        var year = date.year
        var pending = months & ~((2 &<< UInt64(date.month)) &- 1)
        if !includes(year: year) { pending = 0 }
        while true {
            while pending != 0 {
                let month = pending.trailingZeroBitCount
                pending &= pending &- 1
                let first = CivilDate(year: year, month: month, day: 1).dayNumber
                let matching = matchingDays(year, month, startingAt: first, meeting)
                if matching != 0 {
                    return (first &+ matching.trailingZeroBitCount &- 1) &* 86_400 &+ firstOfDay
                }
            }
            repeat {
                year &+= 1
                if year > lastYear { return nil }
            } while !includes(year: year)
            pending = months
        }
    }

    private func includes(year: Int) -> Bool {
        guard let years else { return true }
        let distance = year &- CronField.year.range.lowerBound
        guard distance >= 0, distance < 256 else { return false }
        return years[distance &>> 6] & (1 &<< UInt64(distance & 63)) != 0
    }

    private func matchingDays(_ year: Int, _ month: Int, startingAt first: Int, _ meeting: Bool) -> UInt32 {
        days.days(
            firstWeekday: CivilDate.weekday(ofDayNumber: first),
            length: CivilDate.length(ofMonth: month, in: year), meeting: meeting)
    }

    /// The first matching second of the day at `second` or after it.
    private func timeOfDay(from second: Int) -> Int? {
        if second <= firstOfDay { return firstOfDay }
        let hour = second / 3600
        let minute = second / 60 % 60
        if hours & (1 &<< UInt64(hour)) != 0 {
            if minutes & (1 &<< UInt64(minute)) != 0 {
                let left = seconds &>> UInt64(second % 60)
                if left != 0 { return second &+ left.trailingZeroBitCount }
            }
            let left = minutes & ~((2 &<< UInt64(minute)) &- 1)
            if left != 0 {
                return hour &* 3600 &+ left.trailingZeroBitCount &* 60 &+ seconds.trailingZeroBitCount
            }
        }
        let left = hours & ~((2 &<< UInt64(hour)) &- 1)
        guard left != 0 else { return nil }
        return left.trailingZeroBitCount &* 3600 &+ firstOfDay % 3600
    }
}
