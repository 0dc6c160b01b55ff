import CronSchedule
import Testing

/// Daylight saving.
@Suite struct DaylightSavingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var zone: String
        var expression: String
        var start: String
        var fires: [String]

        init(_ name: String, _ zone: String, _ expression: String, after start: String, _ fires: [String]) {
            self.name = name
            self.zone = zone
            self.expression = expression
            self.start = start
            self.fires = fires
        }

        var testDescription: String { "\(zone) \(expression): \(name)" }
    }

    private static let gaps = [
        Case(
            "a fixed time in the gap fires right after it, once", "Europe/Berlin", "30 2 * * *",
            after: "2026-03-28T12:00:00Z", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        Case(
            "many fixed times in the gap fire once", "Europe/Berlin", "*/15 2 * * *", after: "2026-03-28T12:00:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00", "2026-03-30T02:15:00+02:00"]),
        Case(
            "and not again for the time that follows the gap", "Europe/Berlin", "0 2,3 * * *",
            after: "2026-03-28T12:00:00Z", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
        Case(
            "every second hour is fixed", "Europe/Berlin", "0 */2 * * *", after: "2026-03-28T23:30:00Z",
            ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00", "2026-03-29T06:00:00+02:00"]),
        Case(
            "a wildcard hour follows elapsed time", "Europe/Berlin", "*/15 * * * *", after: "2026-03-29T00:30:00Z",
            ["2026-03-29T01:45:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"]),
        Case(
            "all hours written out are a wildcard", "Europe/Berlin", "30 0-23 * * *", after: "2026-03-29T00:00:00Z",
            ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]),
        Case(
            "seconds too", "America/New_York", "30 2 * * * 15", after: "2026-03-07T12:00:00Z",
            ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:15-04:00"]),
        Case(
            "a day that only the gap has", "America/New_York", "30 2 8 3 *", after: "2026-01-01T00:00:00Z",
            ["2026-03-08T03:00:00-04:00", "2027-03-08T02:30:00-05:00"]),
        Case(
            "half an hour", "Australia/Lord_Howe", "15 2 * * *", after: "2026-10-03T00:00:00Z",
            ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]),
        Case(
            "half an hour, wildcard", "Australia/Lord_Howe", "*/15 * * * *", after: "2026-10-03T15:15:00Z",
            ["2026-10-04T02:30:00+11:00", "2026-10-04T02:45:00+11:00"]),
        Case(
            "at midnight, so that it ends on the same day", "Africa/Cairo", "30 0 * * *",
            after: "2024-04-25T12:00:00Z", ["2024-04-26T01:00:00+03:00", "2024-04-27T00:30:00+03:00"]),
        Case(
            "a whole day that a zone skipped", "Pacific/Apia", "0 9 * * *", after: "2011-12-29T12:00:00Z",
            ["2011-12-29T09:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"]),
        Case(
            "the southern half", "America/Santiago", "15 0 * * *", after: "2024-09-07T12:00:00Z",
            ["2024-09-08T01:00:00-03:00", "2024-09-09T00:15:00-03:00"]),
    ]

    private static let folds = [
        Case(
            "a fixed time in the fold fires in the first pass", "Europe/Berlin", "30 2 * * *",
            after: "2026-10-24T12:00:00Z", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        Case(
            "also when asked between the passes", "Europe/Berlin", "30 2 * * *", after: "2026-10-25T01:10:00Z",
            ["2026-10-26T02:30:00+01:00"]),
        Case(
            "and at the end of the second one", "Europe/Berlin", "0 2,3 * * *", after: "2026-10-25T01:59:59Z",
            ["2026-10-25T03:00:00+01:00", "2026-10-26T02:00:00+01:00"]),
        Case(
            "a range of hours rests in the second pass", "Europe/Berlin", "*/30 1-3 * * *",
            after: "2026-10-25T00:00:00Z",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00", "2026-10-25T03:30:00+01:00"]),
        Case(
            "a wildcard hour fires in both passes", "Europe/Berlin", "0 * * * *", after: "2026-10-24T23:30:00Z",
            ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]),
        Case(
            "every 15 minutes stays so", "America/New_York", "*/15 * * * *", after: "2026-11-01T05:30:00Z",
            ["2026-11-01T01:45:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:15:00-05:00"]),
        Case(
            "a fixed time", "America/New_York", "0 1 * * sun", after: "2026-10-31T12:00:00Z",
            ["2026-11-01T01:00:00-04:00", "2026-11-08T01:00:00-05:00"]),
        Case(
            "half an hour", "Australia/Lord_Howe", "45 1 * * *", after: "2026-04-04T00:00:00Z",
            ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]),
        Case(
            "half an hour, wildcard", "Australia/Lord_Howe", "*/15 * * * *", after: "2026-04-04T14:30:00Z",
            [
                "2026-04-05T01:45:00+11:00", "2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+10:30",
                "2026-04-05T02:00:00+10:30",
            ]),
        Case(
            "the fold repeats the end of the day before", "America/Santiago", "30 23 * * *",
            after: "2024-04-06T12:00:00Z", ["2024-04-06T23:30:00-03:00", "2024-04-07T23:30:00-04:00"]),
        Case(
            "a wildcard hour on one day of it", "America/Santiago", "30 * 6 4 *", after: "2024-04-07T01:00:00Z",
            ["2024-04-06T22:30:00-03:00", "2024-04-06T23:30:00-03:00", "2024-04-06T23:30:00-04:00"]),
    ]

    /// The hour that is skipped.
    @Test(arguments: gaps)
    func gap(_ example: Case) throws { try check(example) }

    /// The hour that comes twice.
    @Test(arguments: folds)
    func fold(_ example: Case) throws { try check(example) }

    private func check(_ example: Case) throws {
        let zone = try TimeZoneRules.named(example.zone)
        let times = try fireTimes(example.expression, after: example.start, in: zone, count: example.fires.count)
        #expect(times == example.fires)
    }

    /// Both kinds, checked against a search second by second through a whole year of each zone.
    @Test(
        "No time is lost or doubled in a year",
        arguments: ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo"],
        ["*/10 * * * *", "*/10 0-22 * * *", "5,35 */3 * * *", "17 1,2 * * sun"])
    func wholeYear(zone name: String, expression: String) throws {
        let zone = try TimeZoneRules.named(name)
        let schedule = try CronSchedule(expression)
        let start: Int64 = 1_704_067_200
        let end = start + 366 * 86_400

        // The UTC schedule tells which wall clock times match; a minute of it is on the wall at an instant or not.
        func matches(_ wall: Int64) -> Bool { schedule.next(after: wall - 1, in: .utc) == wall }
        var expected: [Int64] = []
        var latest = start + Int64(zone.offset(at: start - 60)) - 60
        for instant in stride(from: start, to: end, by: 60) {
            let wall = instant + Int64(zone.offset(at: instant))
            if schedule.hasWildcardHour {
                if matches(wall) { expected.append(instant) }
            } else if wall > latest {
                // Everything that the wall clock went past since the minute before, skipped or not.
                if stride(from: latest + 60, through: wall, by: 60).contains(where: matches) {
                    expected.append(instant)
                }
                latest = wall
            }
        }

        var actual: [Int64] = []
        var time = start - 1
        while let next = schedule.next(after: time, in: zone), next < end {
            actual.append(next)
            time = next
        }
        #expect(actual == expected)
    }
}
