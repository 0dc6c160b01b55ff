/// A cron expression, ready to tell when it fires.
///
/// The dialect is that of Python's `croniter` (7.0.0): `minute hour day-of-month month day-of-week [second [year]]`,
/// with lists, ranges, steps, names, `?`, `L`, `15W`, `5#2`, `L5` and `@hourly` and its kin. `docs/cron.md` has it all.
/// Two schedules are equal when their expressions are, letter for letter.
public struct CronSchedule: Sendable, Hashable, CustomStringConvertible {
    /// As it was given.
    public let expression: String
    let fields: CompiledFields

    /// Reads an expression.
    /// - Throws: `CronScheduleError.invalidExpression` (`task.invalid_cron`), naming the field and what it takes.
    public init(_ expression: String) throws(CronScheduleError) {
        self.expression = expression
        fields = CompiledFields(try CronParser(expression).fields())
    }

    public var description: String { expression }

    /// It has a field of seconds, and so can fire more than once a minute.
    public var hasSeconds: Bool { fields.hasSeconds }

    /// Its hour field covers all 24 hours, so that it follows the clock on the wall through both passes of an hour
    /// that daylight saving repeats. Otherwise it has fixed times, and each of them fires once a day.
    public var hasWildcardHour: Bool { fields.hasWildcardHour }

    /// The first fire time after an instant.
    /// - Parameters:
    ///   - instant: seconds since 1970-01-01T00:00:00Z, excluded from what is looked at.
    ///   - zone: whose wall clock the fields are about.
    /// - Returns: seconds since 1970-01-01T00:00:00Z; nil when it doesn't fire in that calendar year or the 50 after
    ///   it: a 30 February, a year that is past. (50 years is as far as croniter looks.)
    public func next(after instant: Int64, in zone: TimeZoneRules) -> Int64? {
        // The years 1 to 9999: the calendar is not what anyone means beyond, and nothing below overflows.
        guard instant < 253_402_300_800 else { return nil }
        let instant = max(instant, -62_135_596_801)
        let segment = zone.table.segment(at: instant)
        return fields.hasWildcardHour
            ? nextOnWallClock(after: instant, from: segment, in: zone.table)
            : nextFixed(after: instant, from: segment, in: zone.table)
    }

    /// Fixed times: one in a gap fires right after it, one in a fold in the first pass only.
    private func nextFixed(after instant: Int64, from segment: OffsetSegment, in table: OffsetTable) -> Int64? {
        var from = instant &+ segment.offset &+ 1
        // In the second pass of a fold the wall clock shows what it has shown before, up to here.
        if segment.start != Int64.min { from = max(from, segment.start &+ segment.previousOffset) }
        guard let local = fields.firstMatch(from: from) else { return nil }
        if local &- segment.offset < segment.end { return local &- segment.offset }

        var segment = table.segment(at: max(segment.end, local &- OffsetTable.widestOffset))
        while local &- segment.offset >= segment.end { segment = table.segment(at: segment.end) }
        return max(segment.start, local &- segment.offset)
    }

    /// A wildcard hour: it fires whenever the wall clock shows a time that matches.
    private func nextOnWallClock(after instant: Int64, from first: OffsetSegment, in table: OffsetTable) -> Int64? {
        let seen = instant &+ first.offset
        guard var local = fields.firstMatch(from: seen &+ 1) else { return nil }
        if local &- first.offset < first.end { return local &- first.offset }

        var segment = table.segment(at: first.end)
        while segment.start &+ segment.offset <= seen {
            // A fold brought back times that were passed already.
            guard let repeated = fields.firstMatch(from: segment.start &+ segment.offset) else { return nil }
            local = repeated
            if local &- segment.offset < segment.end { return local &- segment.offset }
            segment = table.segment(at: segment.end)
        }
        segment = table.segment(at: max(segment.start, local &- OffsetTable.widestOffset))
        while true {
            if local &- segment.offset < segment.start {
                // It fell into a gap, which the wall clock never shows.
                guard let shown = fields.firstMatch(from: segment.start &+ segment.offset) else { return nil }
                local = shown
            }
            if local &- segment.offset < segment.end { return local &- segment.offset }
            segment = table.segment(at: segment.end)
        }
    }
}
