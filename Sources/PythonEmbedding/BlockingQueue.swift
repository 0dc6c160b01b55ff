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
        pthread_cond_init(condition, nil)
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
