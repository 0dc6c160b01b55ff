import Dispatch
public import Foundation
import Synchronization

/// What the backend does, without a word of HTTP: agents, plugins, tasks and runs.
public final class BackendService: Sendable {
    let storage: any Storage
    /// Tells this backend from every other. Made with its database, and kept by copies and backups of it.
    public let id: String
    let login: LoginConfiguration
    let maximumAgentStorage: Int
    let now: @Sendable () -> Date
    /// Told of each change that concerns an agent.
    let waits = AgentWaits()
    let live = LiveRuns()
    let stacks = StackRequests()
    private let observers = Mutex<[UUID: AsyncStream<StoredRun>.Continuation]>([:])

    private init(
        storage: any Storage, id: String, login: LoginConfiguration, maximumAgentStorage: Int,
        now: @escaping @Sendable () -> Date
    ) {
        self.storage = storage
        self.id = id
        self.login = login
        self.maximumAgentStorage = maximumAgentStorage
        self.now = now
    }

    /// Opens the storage in a folder.
    /// - Parameters:
    ///   - dataFolder: Made with mode 0700; the database in it has 0600.
    ///   - creation: Whether a database is made.
    ///   - exclusively: Whether to take the folder's lock, which one server has.
    ///   - login: How long codes and tokens are good for, and how many codes there may be.
    ///   - maximumAgentStorage: What the runs of one agent may take, in bytes.
    ///   - now: The clock that times are taken from.
    /// - Throws: `ReferenceBackendError.notInitialized`, `.alreadyInitialized`, `.folderInUse`, `.laterVersion`,
    ///   `.storage`.
    public static func open(
        dataFolder: URL, creation: DatabaseCreation = .ifMissing, exclusively: Bool = false,
        login: LoginConfiguration = LoginConfiguration(),
        maximumAgentStorage: Int = ServerLimits.defaultMaximumAgentStorage,
        now: @escaping @Sendable () -> Date = { Date() }
    ) async throws -> BackendService {
        let storage = try await blocking {
            try SQLiteStorage.open(in: dataFolder, creation: creation, exclusively: exclusively)
        }
        let id = try await storage.read { try $0.backendID() }
        return BackendService(
            storage: storage, id: id, login: login, maximumAgentStorage: maximumAgentStorage, now: now)
    }

    /// Closes the storage. What is called afterwards throws.
    public func close() async throws {
        waits.stop()
        live.stop()
        stacks.stop()
        for observer in observers.withLock({ $0.values }) { observer.finish() }
        try await Self.blocking { [storage] in try storage.close() }
    }

    /// Makes what is on disk the whole in as few files as it has at rest.
    /// - Returns: False where another process used the storage at this time.
    func settleStorage() async throws -> Bool {
        try await Self.blocking { [storage] in try storage.settle() }
    }

    /// Closes the storage, and deletes it where opening made it.
    func discardIfNew() async throws {
        try await Self.blocking { [storage] in storage.isNew ? try storage.discard() : try storage.close() }
    }

    /// Whether the storage answers.
    /// - Throws: `ReferenceBackendError.storageGone`, or what the database says when it doesn't.
    public func probe() async throws {
        try storage.check()
        _ = try await storage.read { try $0.backendID() }
    }

    /// How many agents wait for something to change.
    public var waitingAgents: Int { waits.count }

    /// Each run from now on, once it is stored for good. Repeated deliveries are not told.
    public func storedRuns() -> AsyncStream<StoredRun> {
        let (runs, continuation) = AsyncStream<StoredRun>.makeStream()
        let id = UUID()
        continuation.onTermination = { [weak self] _ in
            self?.observers.withLock { _ = $0.removeValue(forKey: id) }
        }
        observers.withLock { $0[id] = continuation }
        return runs
    }

    func announce(_ run: StoredRun) {
        for observer in observers.withLock({ Array($0.values) }) { observer.yield(run) }
    }

    /// Runs what blocks on a thread that may block.
    static func blocking<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(with: Result(catching: work)) }
        }
    }

    /// An id of ours: a UUID in lower case.
    static func newID() -> String { UUID().uuidString.lowercased() }
}
