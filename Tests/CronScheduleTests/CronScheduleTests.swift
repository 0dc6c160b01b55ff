import CronSchedule
import Foundation
import Testing

/// Fire times as RFC 3339 texts, which is how a person checks them.
func fireTimes(
    _ expression: String, after start: String, in zone: TimeZoneRules = .utc, count: Int
) throws -> [String] {
    let schedule = try CronSchedule(expression)
    var date = try Date(start, strategy: .iso8601)
    var times: [String] = []
    while times.count < count, let next = schedule.next(after: date, in: zone) {
        let offset = zone.offset(at: Int64(next.timeIntervalSince1970))
        let style = Date.ISO8601FormatStyle(
            timeZoneSeparator: .colon, timeZone: try #require(TimeZone(secondsFromGMT: offset)))
        times.append(next.formatted(style))
        date = next
    }
    return times
}

/// Fire times.
@Suite struct CronScheduleTests {
    @Test(
        "Never",
        arguments: [
            "0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 1 1 * 0 2020", "0 0 29 2 * 0 2027,2029", "0 0 1 * 5#2",
            "0 0 15W * sat", "0 0 1 1 * 0 1970-2025",
        ])
    func never(expression: String) throws {
        #expect(try fireTimes(expression, after: "2026-01-01T00:00:00Z", count: 1).isEmpty)
    }

    /// A year past the horizon comes into sight when it is 50 years away.
    @Test func horizon() throws {
        #expect(try fireTimes("0 0 1 1 * 0 2099", after: "2048-12-31T23:59:58Z", count: 1).isEmpty)
        #expect(
            try fireTimes("0 0 1 1 * 0 2099", after: "2048-12-31T23:59:59Z", count: 2) == ["2099-01-01T00:00:00Z"])
    }

    /// Without a year field it goes on past 2099.
    @Test func pastTheYearField() throws {
        #expect(try fireTimes("0 0 29 2 *", after: "2097-01-01T00:00:00Z", count: 1) == ["2104-02-29T00:00:00Z"])
        #expect(try fireTimes("0 0 1 1 * 0 2099", after: "2099-01-01T00:00:00Z", count: 1).isEmpty)
    }

    /// The day-of-month and day-of-week rule.
    @Test func eitherDay() throws {
        #expect(
            try fireTimes("0 0 13 * fri", after: "2026-11-01T00:00:00Z", count: 3)
                == ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"])
        // With # the weekday decides alone, as long as a day that suits both exists.
        #expect(
            try fireTimes("0 0 13 * fri#2", after: "2026-11-01T00:00:00Z", count: 3)
                == ["2026-11-13T00:00:00Z", "2026-12-11T00:00:00Z", "2027-01-08T00:00:00Z"])
        // A * at the beginning makes no difference to the rule, unlike in other crons.
        #expect(
            try fireTimes("0 0 */10 * fri", after: "2026-11-01T00:00:00Z", count: 3)
                == ["2026-11-06T00:00:00Z", "2026-11-11T00:00:00Z", "2026-11-13T00:00:00Z"])
    }

    /// Fractions of a second and the start itself are not fire times.
    @Test func strictlyAfter() throws {
        let schedule = try CronSchedule("* * * * * *")
        let start = Date(timeIntervalSince1970: 1_700_000_000)
        #expect(schedule.next(after: start, in: .utc) == start + 1)
        #expect(schedule.next(after: start + 0.25, in: .utc) == start + 1)
        #expect(schedule.next(after: start - 0.25, in: .utc) == start)
        #expect(schedule.next(after: Date(timeIntervalSince1970: -0.5), in: .utc) == Date(timeIntervalSince1970: 0))
    }

    /// Extreme instants.
    @Test func extremes() throws {
        let schedule = try CronSchedule("* * * * *")
        #expect(schedule.next(after: Int64.max, in: .utc) == nil)
        #expect(schedule.next(after: Int64.min, in: .utc) == -62_135_596_800)
        #expect(schedule.next(after: Date(timeIntervalSince1970: .nan), in: .utc) == nil)
        #expect(schedule.next(after: Date(timeIntervalSince1970: .infinity), in: .utc) == nil)
        // Which lies before the year 1.
        #expect(schedule.next(after: Date.distantPast, in: .utc) == Date(timeIntervalSince1970: -62_135_596_800))
        #expect(schedule.next(after: Date(timeIntervalSince1970: -.infinity), in: .utc) != nil)
    }

    /// A wildcard hour is one that covers all 24.
    @Test func wildcardHour() throws {
        for expression in ["* * * * *", "0 0-23 * * *", "0 */1 * * *", "0 5-5 * * *", "0 0-11,12/1 * * *"] {
            #expect(try CronSchedule(expression).hasWildcardHour, "\(expression)")
        }
        for expression in ["0 */2 * * *", "0 0-22 * * *", "@daily", "0 1/1 * * *"] {
            #expect(try !CronSchedule(expression).hasWildcardHour, "\(expression)")
        }
    }
}
