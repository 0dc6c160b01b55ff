public import Foundation

/// The time of day, which schedules follow and which may be set.
public protocol WallClock: Sendable {
    var now: Date { get }

    /// Returns when the clock shows that time or a later one, however it got there.
    ///
    /// - Throws: `CancellationError`.
    func sleep(until time: Date) async throws
}
