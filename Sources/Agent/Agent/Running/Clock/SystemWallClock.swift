public import Foundation
import Glibc
import Threads

/// The host's clock.
///
/// One thread waits on `CLOCK_REALTIME` with absolute times, which the kernel ends early when the clock is set
/// forward and late when it is set back (pthread_cond_timedwait(3), clock_nanosleep(2)).
public final class SystemWallClock: WallClock, @unchecked Sendable {
    // Unchecked because `monitor` guards `sleepers`, `lastNumber` and `threadRuns`.
    private let monitor = Monitor()
    private let changed: Condition
    private var sleepers: [UInt64: Sleeper] = [:]
    private var lastNumber: UInt64 = 0
    private var threadRuns = false

    private struct Sleeper {
        let time: Date
        let continuation: CheckedContinuation<Void, any Error>
    }

    /// The only one a process needs.
    public static let shared = SystemWallClock()

    private init() {
        changed = Condition(of: monitor, clock: .wall)
    }

    public var now: Date { Date() }

    public func sleep(until time: Date) async throws {
        let number = monitor.withLock {
            lastNumber += 1
            return lastNumber
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let startsThread = monitor.withLock {
                    sleepers[number] = Sleeper(time: time, continuation: continuation)
                    defer { threadRuns = true }
                    return !threadRuns
                }
                if startsThread { Thread { [self] in waitForSleepers() }.start() }
                changed.signal()
                // The handler may have come before there was anything to cancel.
                if Task.isCancelled { cancel(number) }
            }
        } onCancel: {
            cancel(number)
        }
    }

    private func cancel(_ number: UInt64) {
        monitor.withLock { sleepers.removeValue(forKey: number) }?.continuation.resume(throwing: CancellationError())
    }

    private func waitForSleepers() {
        while true {
            let due = monitor.withLock { () -> [Sleeper] in
                let now = Date()
                let numbers = sleepers.filter { $0.value.time <= now }.map(\.key)
                let due = numbers.compactMap { sleepers.removeValue(forKey: $0) }
                if due.isEmpty { wait(until: sleepers.values.map(\.time).min()) }
                return due
            }
            for sleeper in due { sleeper.continuation.resume() }
        }
    }

    private func wait(until time: Date?) {
        guard let time else { return changed.wait() }
        let seconds = max(0, time.timeIntervalSince1970)
        let whole = seconds.rounded(.down)
        changed.wait(until: timespec(tv_sec: Int(whole), tv_nsec: min(999_999_999, Int((seconds - whole) * 1e9) + 1)))
    }
}
