import CronSchedule
import Foundation

/// The next fire time over the vectors of the tests.
enum CronVectors {
    /// Nanoseconds; each vector is timed by itself, a hundred times.
    static func median() throws -> Int {
        let schedules = try vectors()
        let clockCost = cost(of: 1000) { _ in }
        let times = schedules.map { schedule, start in
            let time = cost(of: 100) { _ in blackHole = schedule.next(after: start, in: .utc) }
            return max(0, time - clockCost)
        }
        return times.sorted()[times.count / 2]
    }

    /// Where results go, so that nothing is left out as unused. Unsafe because only one benchmark runs at a time.
    nonisolated(unsafe) private static var blackHole: Int64?

    private static func cost(of repetitions: Int, _ body: (Int) -> Void) -> Int {
        let start = ContinuousClock.now
        for index in 0..<repetitions { body(index) }
        return start.duration(to: .now).wholeNanoseconds / repetitions
    }

    private static func vectors() throws -> [(schedule: CronSchedule, start: Int64)] {
        let file = URL(filePath: #filePath).appending(path: "../../../../Tests/CronScheduleTests/Vectors/utc.json")
        let rows = try JSONSerialization.jsonObject(with: Data(contentsOf: file.standardized)) as? [Any] ?? []
        return try rows.compactMap { row in
            guard let row = row as? [Any], let expression = row.first as? String, let start = row[1] as? Int else {
                return nil
            }
            return (try CronSchedule(expression), Int64(start))
        }
    }
}
