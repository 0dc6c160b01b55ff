import AgentModel
import PythonEmbedding

/// Makes a plugin of a script.
///
/// Unchecked because `result` is only touched by the worker's thread; nothing else changes.
final class LoadJob: Job, @unchecked Sendable {
    typealias Loaded = (plugin: PluginInstance, output: String)

    let id: UInt64
    let lane: JobLane?
    private let image: PluginImage
    private let home: PluginHome
    private let outputLimit: Int
    private let observer: (any CallObserver)?
    private let current: @Sendable () -> PluginInstance?
    private let install: @Sendable (PluginInstance) -> Void
    private let continuation: CheckedContinuation<Result<String, PluginExecutionError>, Never>
    private var result: Result<Loaded, LoadFailure>?

    var timeLimit: Duration? { min(image.timeLimit ?? Self.limit, Self.limit) }
    /// A script has this long to be loaded, whatever its calls may take: others wait for the end of it.
    private static let limit = Duration.seconds(60)
    var runsAlone: Bool { true }
    var plugin: PluginID { image.id }
    var kind: WorkerUse.Kind { .load }

    /// - Parameters:
    ///   - lane: of the loads of this plugin, not of its calls.
    ///   - home: where the new version will be called too.
    ///   - current: the version in service.
    ///   - install: puts a version into service. Called with the GIL: loads of one plugin follow each other.
    init(
        id: UInt64, lane: JobLane, image: PluginImage, home: PluginHome, outputLimit: Int,
        observer: (any CallObserver)?,
        current: @escaping @Sendable () -> PluginInstance?,
        install: @escaping @Sendable (PluginInstance) -> Void,
        continuation: CheckedContinuation<Result<String, PluginExecutionError>, Never>
    ) {
        self.id = id
        self.lane = lane
        self.image = image
        self.home = home
        self.outputLimit = outputLimit
        self.observer = observer
        self.current = current
        self.install = install
        self.continuation = continuation
    }

    func takeHome() -> PluginHome? { home }

    func run(on slot: CallSlot, startedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        let code = ObservedCode(observer: observer, plugin: image.id, scriptHash: image.scriptHash)
        result = code.around {
            slot.load(
                script: image.script, path: image.path, pluginID: image.id.rawValue, id: id, outputLimit: outputLimit,
                onOutput: image.onOutput, gil: gil)
        }
    }

    func handOver(stoppedBy stop: CallStop?, endedAt: ContinuousClock.Instant, gil: borrowing GIL) {
        switch result {
        case .success(let loaded):
            install(loaded.plugin)
            continuation.resume(returning: .success(loaded.output))
        case .failure(let failure):
            continuation.resume(returning: .failure(.loadFailed(plugin: image.id, failure)))
        case nil:
            continuation.resume(returning: .failure(.stopped))
        }
    }

    func abandon(_ abandonment: Abandonment) {
        continuation.resume(
            returning: .failure(abandonment.isPastLimit ? .loadTimedOut(plugin: image.id) : .stopped))
    }

    func refuse() { continuation.resume(returning: .failure(.stopped)) }

    func discard(gil: borrowing GIL) {
        guard case .success(let loaded) = result else { return }
        loaded.plugin.forget(inFavourOf: current(), gil: gil)
    }
}
