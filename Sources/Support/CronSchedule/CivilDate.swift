/// A day of the proleptic Gregorian calendar, and the arithmetic between it and day numbers.
///
/// Day 0 is 1970-01-01. Counting years from March puts the leap day at a year's end, so that a month's place in the
/// year is a linear formula.
struct CivilDate: Equatable {
    var year: Int
    /// 1 to 12.
    var month: Int
    /// 1 to 31.
    var day: Int

    init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    init(dayNumber: Int) {
        // 719,468 days lie between 0000-03-01 and 1970-01-01; 146,097 make a cycle of 400 years.
        let shifted = dayNumber &+ 719_468
        let era = (shifted >= 0 ? shifted : shifted &- 146_096) / 146_097
        let dayOfEra = UInt32(truncatingIfNeeded: shifted &- era &* 146_097)
        let leaps = dayOfEra / 1_460 &- dayOfEra / 36_524 &+ dayOfEra / 146_096
        let yearOfEra = (dayOfEra &- leaps) / 365
        let dayOfYear = dayOfEra &- (365 &* yearOfEra &+ yearOfEra / 4 &- yearOfEra / 100)
        let marchMonth = (5 &* dayOfYear &+ 2) / 153
        day = Int(dayOfYear &- (153 &* marchMonth &+ 2) / 5 &+ 1)
        month = Int(marchMonth < 10 ? marchMonth &+ 3 : marchMonth &- 9)
        year = Int(yearOfEra) &+ era &* 400 &+ (month <= 2 ? 1 : 0)
    }

    var dayNumber: Int {
        let marchYear = month <= 2 ? year &- 1 : year
        let era = (marchYear >= 0 ? marchYear : marchYear &- 399) / 400
        let yearOfEra = marchYear &- era &* 400
        let marchMonth = month > 2 ? month &- 3 : month &+ 9
        let dayOfYear = (153 &* marchMonth &+ 2) / 5 &+ day &- 1
        let dayOfEra = yearOfEra &* 365 &+ yearOfEra / 4 &- yearOfEra / 100 &+ dayOfYear
        return era &* 146_097 &+ dayOfEra &- 719_468
    }

    static func isLeap(_ year: Int) -> Bool {
        year & 3 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    /// The days in a month.
    static func length(ofMonth month: Int, in year: Int) -> Int {
        if month == 2 { return isLeap(year) ? 29 : 28 }
        // From January the lengths alternate, and August starts the pattern again.
        return 30 | (month ^ (month &>> 3))
    }

    /// 0 for Sunday.
    static func weekday(ofDayNumber number: Int) -> Int {
        floorModulo(number &+ 4, 7)
    }
}

/// Division that rounds towards negative infinity.
func floorDivide(_ dividend: Int, _ divisor: Int) -> Int {
    let quotient = dividend / divisor
    return dividend &- quotient &* divisor < 0 ? quotient &- 1 : quotient
}

/// The remainder of `floorDivide`: never negative for a positive divisor.
func floorModulo(_ dividend: Int, _ divisor: Int) -> Int {
    let remainder = dividend % divisor
    return remainder < 0 ? remainder &+ divisor : remainder
}
