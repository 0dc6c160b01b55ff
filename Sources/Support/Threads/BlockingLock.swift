internal import Glibc

/// Guards a value whose lock threads may have to wait for.
///
/// A mutex of pthread and not `Synchronization.Mutex`, because that one's hand-over between waiting threads happens in
/// the kernel (futex(2), `FUTEX_LOCK_PI`), where the thread sanitizer doesn't see it and reports races that aren't. It
/// has its place wherever the suites that run under the sanitizer come.
/// Unchecked because the mutex guards what `value` points to. That is memory of its own: a value without a size would
/// have the address of this object, which everybody reads.
///
/// A function is put into it as a member of a structure, and not as it is or in a tuple: each use of a bare one would wrap it
/// once more, until a call of it goes through as many frames (`Scripts/check-imports.sh` refuses that).
public final class BlockingLock<Value>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    public init(_ value: Value) {
        self.value.initialize(to: value)
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        value.deinitialize(count: 1)
        value.deallocate()
    }

    /// Runs `body` with the lock held. Not to be nested.
    public func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value.pointee)
    }
}
