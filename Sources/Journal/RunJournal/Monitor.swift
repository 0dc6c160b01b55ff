import Glibc

/// A mutex and a condition variable (pthread_cond_timedwait(3)) that waits by the clock that isn't set: a wait with an
/// end must not last for hours because somebody corrected the time of day.
///
/// Unchecked because the pointers stay as they are and the C library guards what is behind them.
final class Monitor: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func withLock<Value>(_ body: () -> Value) -> Value {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Wakes one thread that waits. With the lock held or not.
    func signal() { pthread_cond_signal(condition) }

    /// Waits for a signal, with the lock held. It may return without one.
    func wait() { pthread_cond_wait(condition, mutex) }

    /// The same, until a moment of ``now``.
    func wait(until end: Int) {
        var time = timespec(tv_sec: end / 1_000_000_000, tv_nsec: end % 1_000_000_000)
        pthread_cond_timedwait(condition, mutex, &time)
    }

    /// Nanoseconds of the clock that waits go by (clock_gettime(2), `CLOCK_MONOTONIC`).
    static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
