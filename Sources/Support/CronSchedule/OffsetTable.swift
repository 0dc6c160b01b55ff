/// A time during which a zone's offset from UTC stays as it is.
struct OffsetSegment: Equatable {
    /// Seconds since 1970 UTC; `Int64.min` for the first.
    var start: Int64
    /// Where the next one starts; `Int64.max` for the last.
    var end: Int64
    /// Seconds east of UTC.
    var offset: Int64
    /// What it was before `start`.
    var previousOffset: Int64
}

/// The offsets of a time zone by instant.
///
/// What a file lists comes first; its footer's rule is laid out for 400 years after that. The calendar repeats
/// after 400 years to the weekday, so that later times look up their counterpart in those.
struct OffsetTable: Sendable {
    /// More than any offset that RFC 9636 allows, in seconds.
    static let widestOffset: Int64 = 100_000
    static let cycle: Int64 = 146_097 * 86_400

    /// `offsets[i + 1]` holds from `starts[i]` on, `offsets[0]` before all.
    private let starts: [Int64]
    private let offsets: [Int64]
    /// Times from here on repeat every `cycle`; `Int64.max` where the last offset stays.
    private let repeatsFrom: Int64

    init(fixed offset: Int64) {
        starts = []
        offsets = [offset]
        repeatsFrom = .max
    }

    /// - Parameters:
    ///   - initial: the offset before the first change.
    ///   - changes: instants, ascending, and the offsets from there on.
    ///   - rule: what holds after the last change; nil for its offset.
    init(initial: Int64, changes: [(start: Int64, offset: Int64)], rule: POSIXTimeZone?) {
        var starts: [Int64] = []
        var offsets = [initial]
        func append(_ start: Int64, _ offset: Int64) {
            if starts.last == start {
                offsets[offsets.count - 1] = offset
            } else {
                starts.append(start)
                offsets.append(offset)
            }
            // A change of the name alone is none here.
            if offsets[offsets.count - 1] == offsets[offsets.count - 2] {
                starts.removeLast()
                offsets.removeLast()
            }
        }
        for change in changes { append(change.start, change.offset) }
        var repeatsFrom = Int64.max
        if let rule {
            // A rule alone, from the TZ variable, begins in 1900: nobody schedules before.
            let lastChange = changes.last?.start ?? Int64(CivilDate(year: 1900, month: 1, day: 1).dayNumber * 86_400)
            let firstYear = CivilDate(dayNumber: floorDivide(Int(lastChange), 86_400)).year - 1
            if rule.daylight == nil {
                if changes.last.map({ $0.offset }) != rule.standard {
                    append(lastChange, rule.standard)
                }
            } else {
                for year in firstYear...(firstYear + 405) {
                    for change in rule.changes(in: year) where change.start > lastChange {
                        append(change.start, change.offset)
                    }
                }
                // Two years on, no segment reaches back to what the file lists.
                repeatsFrom = Int64(CivilDate(year: firstYear + 3, month: 1, day: 1).dayNumber * 86_400)
            }
        }
        self.starts = starts
        self.offsets = offsets
        self.repeatsFrom = repeatsFrom
    }

    /// The segment that an instant lies in.
    func segment(at instant: Int64) -> OffsetSegment {
        guard instant >= repeatsFrom else { return lookUp(instant) }
        let shift = (instant &- repeatsFrom) / Self.cycle &* Self.cycle
        var segment = lookUp(instant &- shift)
        if segment.start != .min { segment.start &+= shift }
        if segment.end != .max { segment.end &+= shift }
        return segment
    }

    private func lookUp(_ instant: Int64) -> OffsetSegment {
        var low = 0
        var high = starts.count
        while low < high {
            let middle = (low &+ high) &>> 1
            if starts[middle] <= instant { low = middle &+ 1 } else { high = middle }
        }
        return OffsetSegment(
            start: low == 0 ? .min : starts[low &- 1], end: low == starts.count ? .max : starts[low],
            offset: offsets[low], previousOffset: low == 0 ? offsets[0] : offsets[low &- 1])
    }
}
