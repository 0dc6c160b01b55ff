internal import Glibc

/// A first-in first-out queue on whose end threads of our own wait. Never pop on the cooperative pool.
public final class BlockingQueue<Element: Sendable>: @unchecked Sendable {
    // Unchecked because a mutex of pthread guards `elements`: the standard library has no condition variable.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var elements: [Element?] = []
    private var head = 0

    public init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // Whoever sets the host's clock changes no bound.
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

    public func push(_ element: Element) {
        pthread_mutex_lock(mutex)
        elements.append(element)
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(condition)
    }

    /// Waits until there is an element.
    public func pop() -> Element {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        // A condition variable may wake without a cause.
        while head == elements.count { pthread_cond_wait(condition, mutex) }
        return takeFirst()
    }

    /// Waits until there is an element, for so long at most; nil where none came.
    public func pop(within limit: Duration) -> Element? {
        var end = timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        let (seconds, attoseconds) = max(limit, .zero).components
        let nanoseconds = end.tv_nsec + Int(attoseconds / 1_000_000_000)
        end.tv_sec += Int(min(seconds, 1 << 32)) + nanoseconds / 1_000_000_000
        end.tv_nsec = nanoseconds % 1_000_000_000
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while head == elements.count {
            guard pthread_cond_timedwait(condition, mutex, &end) != ETIMEDOUT else { break }
        }
        return head == elements.count ? nil : takeFirst()
    }

    /// With the mutex held.
    private func takeFirst() -> Element {
        var element: Element?
        swap(&element, &elements[head])
        head += 1
        // Also while it never runs empty.
        if head == elements.count || head >= 1024 && head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
        // The indices from `head` on are never nil.
        return element!
    }
}
