import AgentModel
import PythonEmbedding
import Synchronization
import Threads

/// How long a thread may wait for something in the sandbox: until a deadline, and until everything is stopped.
struct SandboxBound: Sendable {
    /// Nil for none.
    let deadline: ContinuousClock.Instant?
    private let stopping: StopRequest

    init(deadline: ContinuousClock.Instant?, stopping: StopRequest) {
        self.deadline = deadline
        self.stopping = stopping
    }

    var isStopped: Bool { stopping.isRequested.load(ordering: .acquiring) }

    var hasPassed: Bool { deadline.map { $0 <= .now } ?? false }

    /// No later than so long from now.
    func within(_ limit: Duration) -> SandboxBound {
        let end = ContinuousClock.now + limit
        return SandboxBound(deadline: deadline.map { min($0, end) } ?? end, stopping: stopping)
    }

    /// How often a wait looks whether everything is stopped: few waits come here, and none of a call to a child that is
    /// there.
    private static let step = Duration.milliseconds(50)

    /// Nil where nothing came in time.
    func wait<Element>(for queue: BlockingQueue<Element>) -> Element? {
        while true {
            let left = deadline.map { ContinuousClock.now.duration(to: $0) } ?? Self.step
            if let element = queue.pop(within: min(left, Self.step)) { return element }
            if left <= .zero || isStopped { return nil }
        }
    }
}
