import DequeModule

/// The calls of one plugin, of which only so many run at the same time, in the order they came. Unchecked because the
/// lock of whoever owns it guards it.
final class Lane<Member>: @unchecked Sendable {
    var concurrency: Int
    /// Where the calls are in their code that could not be stopped and go on, by the threads that were given up with them;
    /// empty where that isn't known.
    var stuck: [UInt64: String] = [:]
    private var running = 0
    private var isReserved = false
    private var waiting = Deque<(member: Member, runsAlone: Bool)>()

    init(concurrency: Int) {
        self.concurrency = concurrency
    }

    /// Whether the member may run now; otherwise it waits behind those that came earlier.
    func admit(_ member: Member, runsAlone: Bool = false) -> Bool {
        guard waiting.isEmpty, start(runsAlone) else {
            waiting.append((member, runsAlone))
            return false
        }
        return true
    }

    /// A member that ran has ended, or was given up. Call ``admitNext()`` until it returns nil.
    func release() {
        running -= 1
        isReserved = false
    }

    /// The one that may run now, if there is one.
    func admitNext() -> Member? {
        guard let first = waiting.first, start(first.runsAlone) else { return nil }
        return waiting.popFirst()?.member
    }

    private func start(_ runsAlone: Bool) -> Bool {
        guard !isReserved, running < (runsAlone ? 1 : concurrency) else { return false }
        running += 1
        isReserved = runsAlone
        return true
    }
}
