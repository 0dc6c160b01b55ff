/// A zone's rule in the form of the `TZ` variable: `CET-1CEST,M3.5.0,M10.5.0/3`.
///
/// POSIX.1-2017, section 8.3, with the extensions of RFC 9636, section 3.3.1 (hours from -167 to 167).
struct POSIXTimeZone: Equatable {
    /// A day of the year and a time on it.
    struct Change: Equatable {
        enum Day: Equatable {
            /// 1 to 365, a 29 February not counted.
            case julian(Int)
            /// 0 to 365, a 29 February counted.
            case ordinal(Int)
            /// Week 5 is the last one; 0 is Sunday.
            case weekday(month: Int, week: Int, weekday: Int)
        }

        var day: Day
        /// Seconds after midnight on the wall clock before the change; may be negative or past the day.
        var time: Int64

        /// The instant in a year, given the offset before the change.
        func instant(in year: Int, offset: Int64) -> Int64 {
            Int64(dayNumber(in: year)) * 86_400 + time - offset
        }

        private func dayNumber(in year: Int) -> Int {
            let newYear = CivilDate(year: year, month: 1, day: 1).dayNumber
            switch day {
            case .julian(let day):
                return newYear + day - (CivilDate.isLeap(year) && day >= 60 ? 0 : 1)
            case .ordinal(let day):
                return newYear + day
            case .weekday(let month, let week, let weekday):
                let first = CivilDate(year: year, month: month, day: 1).dayNumber
                let ahead = floorModulo(weekday - CivilDate.weekday(ofDayNumber: first), 7)
                let day = ahead + 7 * (week - 1)
                return first + (day < CivilDate.length(ofMonth: month, in: year) ? day : day - 7)
            }
        }
    }

    struct Daylight: Equatable {
        var offset: Int64
        var start: Change
        var end: Change
    }

    /// Seconds east of UTC.
    var standard: Int64
    var daylight: Daylight?

    /// The changes that a year's rule names, in the order of time.
    func changes(in year: Int) -> [(start: Int64, offset: Int64)] {
        guard let daylight else { return [] }
        let start = daylight.start.instant(in: year, offset: standard)
        let end = daylight.end.instant(in: year, offset: daylight.offset)
        // A year-long daylight time ends when the next one starts, and that start has to come last.
        return end < start
            ? [(end, standard), (start, daylight.offset)] : [(start, daylight.offset), (end, standard)]
    }

    /// Reads a rule; nil where the text is none.
    init?(_ text: String) {
        var reader = Reader(rest: Array(text.utf8)[...])
        guard reader.skipName(), let west = reader.offset(hours: 24) else { return nil }
        standard = -west
        guard !reader.rest.isEmpty else { return }
        guard reader.skipName() else { return nil }
        var offset = standard + 3600
        if let next = reader.rest.first, next != UInt8(ascii: ",") {
            guard let west = reader.offset(hours: 24) else { return nil }
            offset = -west
        }
        // Without rules POSIX leaves them open; everyone takes those of the United States.
        if reader.rest.isEmpty { reader.rest = Array(",M3.2.0,M11.1.0".utf8)[...] }
        guard let start = reader.change(), let end = reader.change(), reader.rest.isEmpty else { return nil }
        daylight = Daylight(offset: offset, start: start, end: end)
    }
}

/// A cursor over the text of a rule.
private struct Reader {
    var rest: ArraySlice<UInt8>

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest.removeFirst()
        return true
    }

    /// `CET` or `<+0330>`, at least three characters.
    mutating func skipName() -> Bool {
        let isBracketed = skip("<")
        let name = rest.prefix { byte in
            let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
            let isOther = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "+")
            return isLetter || (isBracketed && (isOther || byte == UInt8(ascii: "-")))
        }
        rest.removeFirst(name.count)
        return name.count >= 3 && (!isBracketed || skip(">"))
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int? {
        let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard (1...3).contains(digits.count) else { return nil }
        rest.removeFirst(digits.count)
        let value = digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        return range.contains(value) ? value : nil
    }

    /// `[+-]hh[:mm[:ss]]` in seconds.
    mutating func offset(hours: Int) -> Int64? {
        let isNegative = skip("-")
        if !isNegative { _ = skip("+") }
        guard let hour = number(0...hours) else { return nil }
        var seconds = hour * 3600
        for unit in [60, 1] where skip(":") {
            guard let value = number(0...59) else { return nil }
            seconds += value * unit
        }
        return Int64(isNegative ? -seconds : seconds)
    }

    /// `,J60`, `,59` or `,M3.5.0`, with `/time`.
    mutating func change() -> POSIXTimeZone.Change? {
        guard skip(",") else { return nil }
        let day: POSIXTimeZone.Change.Day
        if skip("J") {
            guard let number = number(1...365) else { return nil }
            day = .julian(number)
        } else if skip("M") {
            guard let month = number(1...12), skip("."), let week = number(1...5), skip("."),
                let weekday = number(0...6)
            else { return nil }
            day = .weekday(month: month, week: week, weekday: weekday)
        } else {
            guard let number = number(0...365) else { return nil }
            day = .ordinal(number)
        }
        guard skip("/") else { return POSIXTimeZone.Change(day: day, time: 7200) }
        guard let time = offset(hours: 167) else { return nil }
        return POSIXTimeZone.Change(day: day, time: time)
    }
}
