public import Glibc

/// A mutex whose holder can wait for something to happen (``Condition``), for state that several threads of ours share.
///
/// What must only be called with the lock held says so with ``assertLocked()``. Unchecked because the pointer stays as it
/// is, the C library guards what is behind it, and `owner` is only changed with the lock held.
public final class Monitor: @unchecked Sendable {
    fileprivate let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// The thread that has the lock; 0 where none has.
    private var owner: pthread_t = 0

    public init() {
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` with the lock held. Not to be nested.
    public func withLock<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        owner = pthread_self()
        defer {
            owner = 0
            pthread_mutex_unlock(mutex)
        }
        return try body()
    }

    /// Ends the process where the calling thread does not hold the lock.
    public func assertLocked() {
        precondition(owner == pthread_self(), "called without the lock")
    }

    fileprivate func waiting<Result>(_ wait: () -> Result) -> Result {
        assertLocked()
        owner = 0
        defer { owner = pthread_self() }
        return wait()
    }
}

/// What threads wait for that hold a monitor's lock (pthread_cond_wait(3)).
///
/// Unchecked because the pointers stay as they are and the C library guards what is behind them.
public final class Condition: @unchecked Sendable {
    /// What the ends of waits are times of.
    public enum Clock: Sendable {
        /// Nobody sets it: a wait must not last for hours because somebody corrected the time of day.
        case monotonic
        /// The time of day: a wait for one ends when it is reached, also by being set.
        case wall

        fileprivate var id: clockid_t { self == .monotonic ? CLOCK_MONOTONIC : CLOCK_REALTIME }

        public var now: timespec {
            var time = timespec()
            clock_gettime(id, &time)
            return time
        }
    }

    private let monitor: Monitor
    public let clock: Clock
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    public init(of monitor: Monitor, clock: Clock = .monotonic) {
        self.monitor = monitor
        self.clock = clock
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, clock.id)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        condition.deallocate()
    }

    /// Wakes one thread that waits. With the lock held or not.
    public func signal() { pthread_cond_signal(condition) }

    /// Waits for a signal, with the lock held, which is released meanwhile. It may return without one.
    public func wait() {
        monitor.waiting { _ = pthread_cond_wait(condition, monitor.mutex) }
    }

    /// The same, until a time of the clock. Returns false where that has come.
    @discardableResult
    public func wait(until end: timespec) -> Bool {
        monitor.waiting {
            var end = end
            return pthread_cond_timedwait(condition, monitor.mutex, &end) != ETIMEDOUT
        }
    }

    public func hasPassed(_ time: timespec) -> Bool {
        let now = clock.now
        return (now.tv_sec, now.tv_nsec) >= (time.tv_sec, time.tv_nsec)
    }

    /// A time of the clock, so long from now: up to the next nanosecond, so that no wait ends a moment too early.
    public func end(in duration: Duration) -> timespec {
        var end = clock.now
        let (seconds, attoseconds) = max(duration, .zero).components
        let nanoseconds = end.tv_nsec + Int(attoseconds / 1_000_000_000) + 1
        end.tv_sec += Int(min(seconds, 1 << 32)) + nanoseconds / 1_000_000_000
        end.tv_nsec = nanoseconds % 1_000_000_000
        return end
    }
}
