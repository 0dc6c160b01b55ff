import AgentModel
import Synchronization

/// One-off tasks that the backend took off its list when they had been handed to the executor: their calls are asked
/// right before they begin.
final class WithdrawnTasks: Sendable {
    private let ids = Mutex<Set<TaskID>>([])

    func replace(with ids: some Sequence<TaskID>) {
        let new = Set(ids)
        self.ids.withLock { $0 = new }
    }

    func contains(_ id: TaskID) -> Bool { ids.withLock { $0.contains(id) } }
}
