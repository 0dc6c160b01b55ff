public import Foundation

/// The two times that a login goes by.
public protocol LoginClock: Sendable {
    /// The host's clock, for what outlives the process. It may be wrong, and may be set.
    var wallTime: Date { get }
    /// The time since some moment; no setting of the clock changes it.
    var uptime: Duration { get }

    /// - Throws: `CancellationError`.
    func sleep(for duration: Duration) async throws
}

/// The clocks of the system. Its uptime goes on while the host sleeps.
public struct SystemLoginClock: LoginClock {
    private static let start = ContinuousClock.now

    public init() {}

    public var wallTime: Date { Date() }
    public var uptime: Duration { ContinuousClock.now - Self.start }

    public func sleep(for duration: Duration) async throws {
        try await Task.sleep(for: duration, clock: .continuous)
    }
}
