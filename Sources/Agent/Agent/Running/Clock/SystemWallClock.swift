public import Foundation
import Glibc
import Synchronization

/// The host's clock.
///
/// One thread waits on `CLOCK_REALTIME` with absolute times, which the kernel ends early when the clock is set
/// forward and late when it is set back (pthread_cond_timedwait(3), clock_nanosleep(2)).
public final class SystemWallClock: WallClock, @unchecked Sendable {
    // Unchecked because a mutex of pthread guards `sleepers` and `isClosed`.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
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
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    public var now: Date { Date() }

    public func sleep(until time: Date) async throws {
        let number = locked {
            lastNumber += 1
            return lastNumber
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let startsThread = locked {
                    sleepers[number] = Sleeper(time: time, continuation: continuation)
                    defer { threadRuns = true }
                    return !threadRuns
                }
                if startsThread { Thread { [self] in waitForSleepers() }.start() }
                pthread_cond_signal(changed)
                // The handler may have come before there was anything to cancel.
                if Task.isCancelled { cancel(number) }
            }
        } onCancel: {
            cancel(number)
        }
    }

    private func cancel(_ number: UInt64) {
        locked { sleepers.removeValue(forKey: number) }?.continuation.resume(throwing: CancellationError())
    }

    private func waitForSleepers() {
        while true {
            let due = locked { () -> [Sleeper] in
                let now = Date()
                let numbers = sleepers.filter { $0.value.time <= now }.map(\.key)
                let due = numbers.compactMap { sleepers.removeValue(forKey: $0) }
                if due.isEmpty { wait(until: sleepers.values.map(\.time).min()) }
                return due
            }
            for sleeper in due { sleeper.continuation.resume() }
        }
    }

    /// With the mutex held, which is released meanwhile.
    private func wait(until time: Date?) {
        guard let time else {
            pthread_cond_wait(changed, mutex)
            return
        }
        let seconds = max(0, time.timeIntervalSince1970)
        let whole = seconds.rounded(.down)
        var deadline = timespec(tv_sec: Int(whole), tv_nsec: min(999_999_999, Int((seconds - whole) * 1e9) + 1))
        pthread_cond_timedwait(changed, mutex, &deadline)
    }

    private func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }
}
