import Synchronization

/// One-off tasks that the backend took off its list when they had been handed to the executor: their calls are asked
/// right before they begin.
final class WithdrawnTasks: Sendable {
    private let ids = Mutex<Set<String>>([])

    func replace(with ids: some Sequence<String>) {
        let new = Set(ids)
        self.ids.withLock { $0 = new }
    }

    func contains(_ id: String) -> Bool { ids.withLock { $0.contains(id) } }
}
