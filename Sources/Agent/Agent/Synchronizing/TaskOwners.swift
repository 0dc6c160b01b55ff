public import AgentModel
import PluginStore
import PythonEmbedding
import Synchronization
import Threads

/// Which plugin a task belongs to, for threads that can wait: of tasks that are listed or under way.
public final class TaskOwners: Sendable {
    private struct Dependencies: Sendable {
        let catalog: PluginCatalog
        let dispatcher: Dispatcher
        let tasks: TaskIntake
    }

    /// Nil until the parts are there, which come after the interpreter.
    private let dependencies = Mutex<Dependencies?>(nil)
    private static let answerLimit = Duration.seconds(5)

    public init() {}

    func connect(catalog: PluginCatalog, dispatcher: Dispatcher, tasks: TaskIntake) {
        dependencies.withLock {
            $0 = Dependencies(catalog: catalog, dispatcher: dispatcher, tasks: tasks)
        }
    }

    /// Blocks the calling thread, for some seconds at most: false where no answer comes.
    public func isTask(_ task: TaskID, of plugin: String) -> Bool {
        guard let known = dependencies.withLock({ $0 }) else { return false }
        let answer = BlockingQueue<Bool>()
        Task { answer.push(await Self.isTask(task, of: plugin, known)) }
        return answer.pop(within: Self.answerLimit) ?? false
    }

    private static func isTask(_ task: TaskID, of plugin: String, _ dependencies: Dependencies) async -> Bool {
        // One that runs may be listed no more.
        var command = await dependencies.dispatcher.command(of: task)
        if command == nil { command = await dependencies.tasks.command(of: task) }
        guard let command, case .run(let provider, _) = await dependencies.catalog.resolve(command) else {
            return false
        }
        return provider.id.rawValue == plugin
    }
}
