public import Foundation

extension CronSchedule {
    /// The first fire time after a date: see `next(after:in:)` of seconds.
    ///
    /// Fire times are whole seconds. Nil also for a date that is not a number.
    public func next(after date: Date, in zone: TimeZoneRules) -> Date? {
        let seconds = date.timeIntervalSince1970.rounded(.down)
        guard !seconds.isNaN else { return nil }
        // Far outside the years that are looked at, and still an integer.
        let instant = Int64(min(max(seconds, -1e15), 1e15))
        return next(after: instant, in: zone).map { Date(timeIntervalSince1970: TimeInterval($0)) }
    }
}
