public import DeviceAuthorization
public import Foundation
import Synchronization

/// A login's clocks, which move when the test moves them: nobody waits, a sleep moves them.
public final class ManualLoginClock: LoginClock {
    private struct State {
        var wallTime: Date
        var uptime = Duration.seconds(1000)
        var sleeps: [Duration] = []
    }

    private let state: Mutex<State>

    public init(wallTime: Date = Date(timeIntervalSince1970: 1_800_000_000)) {
        state = Mutex(State(wallTime: wallTime))
    }

    public var wallTime: Date { state.withLock { $0.wallTime } }
    public var uptime: Duration { state.withLock { $0.uptime } }
    /// How long was slept, each time.
    public var sleeps: [Duration] { state.withLock { $0.sleeps } }

    public func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        state.withLock { $0.sleeps.append(duration) }
        advance(by: duration)
        // Others get their turn, as in a real sleep.
        await Task.yield()
    }

    /// Lets time pass.
    public func advance(by duration: Duration) {
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
        state.withLock {
            $0.uptime += duration
            $0.wallTime += seconds
        }
    }

    /// Sets the host's clock without time passing.
    public func setWallTime(_ time: Date) { state.withLock { $0.wallTime = time } }
}
