import Glibc
import Synchronization

/// Tells the agent's process from one that a plugin forked in the middle of a call (`os.fork()`).
///
/// Such a child comes back from the plugin's method as if it were the worker, with a copy of everything that waits: it
/// must not work that off a second time.
enum ForkedChild {
    private static let isForked = Atomic<Bool>(false)
    private static let registration: Void = {
        // Made before the first fork, where no lock may be taken.
        isForked.store(false, ordering: .relaxed)
        pthread_atfork(nil, nil) { ForkedChild.isForked.store(true, ordering: .relaxed) }
    }()

    /// From now on forks are noticed (pthread_atfork(3)).
    static func watch() { _ = registration }

    /// Ends the process where it is such a child, and returns where it is the agent.
    static func endIfSo() {
        if isForked.load(ordering: .relaxed) { _exit(1) }
    }
}
