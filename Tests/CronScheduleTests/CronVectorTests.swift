import CronSchedule
import Testing

/// Against croniter.
@Suite struct CronVectorTests {
    /// Next five in UTC.
    @Test(arguments: ["utc.json"])
    func utc(file: String) throws {
        let rows = try Vectors.rows(file)
        #expect(rows.count >= 5_000)
        for row in rows { check(row, in: .utc) }
    }

    /// Next five in other zones.
    @Test func zones() throws {
        let rows = try Vectors.rows("zones.json")
        #expect(rows.count >= 1_000)
        var zones: [String: TimeZoneRules] = [:]
        for row in rows {
            let name = try #require(row.zone)
            let zone = try zones[name] ?? TimeZoneRules.named(name)
            zones[name] = zone
            check(row, in: zone)
        }
    }

    /// What croniter rejects.
    @Test func rejected() throws {
        let expressions = try Vectors.rejected()
        #expect(expressions.count >= 200)
        for expression in expressions {
            #expect(throws: CronScheduleError.self, "\(expression)") { try CronSchedule(expression) }
        }
    }

    private func check(_ row: Vectors.Row, in zone: TimeZoneRules) {
        do {
            let schedule = try CronSchedule(row.expression)
            var time = row.start
            var gaps: [Int64] = []
            while gaps.count < 5, let next = schedule.next(after: time, in: zone) {
                gaps.append(next - time)
                time = next
            }
            #expect(gaps == row.gaps, "\(row)")
        } catch {
            Issue.record("\(row): \(error)")
        }
    }
}
