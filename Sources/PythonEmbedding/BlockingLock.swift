internal import Glibc

/// Guards a value that a thread may hold for long: initialising an interpreter takes tens of milliseconds.
///
/// A mutex of pthread and not `Synchronization.Mutex`, because that one's hand-over between waiting threads happens in
/// the kernel (futex(2), `FUTEX_LOCK_PI`), where the thread sanitizer doesn't see it and reports races that aren't.
/// Unchecked because the mutex guards `value`.
final class BlockingLock<Value>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var value: Value

    init(_ value: Value) {
        self.value = value
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func withLock<Result, Failure: Error>(_ body: (inout Value) throws(Failure) -> Result) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value)
    }
}
