/// A first-in first-out queue on whose end threads of our own wait. Never pop on the cooperative pool.
///
/// Unchecked because `monitor` guards `elements` and `head`.
public final class BlockingQueue<Element: Sendable>: @unchecked Sendable {
    private let monitor: Monitor
    private let hasElements: Condition
    private var elements: [Element?] = []
    private var head = 0

    public init() {
        monitor = Monitor()
        hasElements = Condition(of: monitor)
    }

    public func push(_ element: Element) {
        monitor.withLock { elements.append(element) }
        hasElements.signal()
    }

    /// Waits until there is an element.
    public func pop() -> Element {
        monitor.withLock {
            // A condition may wake without a cause.
            while head == elements.count { hasElements.wait() }
            return takeFirst()
        }
    }

    /// Waits until there is an element, for so long at most; nil where none came.
    public func pop(within limit: Duration) -> Element? {
        let end = hasElements.end(in: limit)
        return monitor.withLock {
            while head == elements.count, hasElements.wait(until: end) {}
            return head == elements.count ? nil : takeFirst()
        }
    }

    private func takeFirst() -> Element {
        monitor.assertLocked()
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
