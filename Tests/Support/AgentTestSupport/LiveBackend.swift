public import AgentModel
public import Diagnostics
public import Foundation
public import Logging
public import ReferenceBackend

/// The real backend within the test's process, on a port of its own, with its storage in a temporary folder.
///
/// ```swift
/// try await LiveBackend.withLiveBackend(seed: folder) { backend in
///     try await agent.syncOnce(backend.url)
///     let runs = try await backend.waitForRuns(ofTask: "…")
///     #expect(runs[0].result.status == .succeeded)
/// }
/// ```
public final class LiveBackend: Sendable {
    /// `http://127.0.0.1:PORT`, as `server_url` wants it.
    public let url: String
    public let port: Int
    /// The token of the administration API.
    public let administrationToken: String
    /// The folder with the database; it goes with the last reference to this backend.
    public var dataFolder: URL { folder.url }
    /// What the routes speak for: to arrange what is there and to look at what came in.
    public let service: BackendService
    /// Where the database is; for ``start(seed:data:port:authentication:login:maximumResultSize:logger:now:)``.
    public let folder: TemporaryFolder
    private let running: Task<Void, any Error>

    private init(
        service: BackendService, administrationToken: String, port: Int, folder: TemporaryFolder,
        running: Task<Void, any Error>
    ) {
        url = "http://127.0.0.1:\(port)"
        self.port = port
        self.administrationToken = administrationToken
        self.service = service
        self.folder = folder
        self.running = running
    }

    /// Starts a backend that listens when this returns.
    /// - Parameters:
    ///   - seed: A seed folder to take in.
    ///   - data: The folder of a backend that was stopped, to go on with its database; nil for a new one.
    ///   - port: 0 for any that is free; a test that starts another in its place takes a `ReservedPort`.
    ///   - authentication: How agents are known; `device` wants them to log in.
    ///   - login: Lifetimes and limits of logins.
    ///   - maximumResultSize: In bytes.
    ///   - limits: How much the backend takes in.
    ///   - trustedProxies: Whose `X-Forwarded-For` is believed.
    ///   - now: The backend's clock, for tests that let tokens expire.
    public static func start(
        seed: URL? = nil, data: TemporaryFolder? = nil, port: Int = 0, authentication: AgentAuthentication = .none,
        login: LoginConfiguration = LoginConfiguration(),
        maximumResultSize: Int = BackendConfiguration.defaultMaximumResultSize, limits: ServerLimits = ServerLimits(),
        runRetention: Int? = nil, trustedProxies: [AddressRange] = [],
        logger: Logger = Logger(label: "live-backend", factory: { _ in SwiftLogNoOpLogHandler() }),
        now: @escaping @Sendable () -> Date = { Date() }
    ) async throws -> LiveBackend {
        let folder = try data ?? TemporaryFolder()
        let configuration = BackendConfiguration(
            listen: ListenAddress(host: "127.0.0.1", port: port), dataFolder: folder.url,
            creation: .ifMissing, seedFolder: seed,
            authentication: authentication, login: login, maximumResultSize: maximumResultSize, limits: limits,
            runRetention: runRetention, trustedProxies: trustedProxies)
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            do {
                let server = try await BackendServer(configuration, logger: logger, now: now)
                return try await listen(server, folder)
            } catch let error as ReferenceBackendError
                where error.code == "backend.cannot_listen" && port != 0 && ContinuousClock.now < deadline
            {
                // What another test forks has the socket of the one before until it executes.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private static func listen(_ server: BackendServer, _ folder: TemporaryFolder) async throws -> LiveBackend {
        let (addresses, continuation) = AsyncStream<ListenAddress>.makeStream()
        let running = Task {
            defer { continuation.finish() }
            try await server.run(handlesSignals: false) { continuation.yield($0) }
        }
        guard let address = await addresses.first(where: { _ in true }) else {
            try await running.value
            throw LiveBackendError.ended
        }
        let token =
            if let new = server.newAdministrationToken { new } else {
                try await server.service.resetAdministrationToken()
            }
        return LiveBackend(
            service: server.service, administrationToken: token, port: address.port, folder: folder, running: running)
    }

    /// Stops listening and closes all connections and the storage.
    public func stop() async {
        running.cancel()
        _ = await running.result
    }

    /// Starts a backend, and stops it whatever becomes of the body.
    public static func withLiveBackend<T>(
        seed: URL? = nil, authentication: AgentAuthentication = .none,
        login: LoginConfiguration = LoginConfiguration(),
        maximumResultSize: Int = BackendConfiguration.defaultMaximumResultSize, limits: ServerLimits = ServerLimits(),
        trustedProxies: [AddressRange] = [], now: @escaping @Sendable () -> Date = { Date() },
        _ body: (LiveBackend) async throws -> T
    ) async throws -> T {
        let backend = try await start(
            seed: seed, authentication: authentication, login: login, maximumResultSize: maximumResultSize,
            limits: limits, trustedProxies: trustedProxies, now: now)
        do {
            let result = try await body(backend)
            await backend.stop()
            return result
        } catch {
            await backend.stop()
            throw error
        }
    }
}

/// Why a live backend could not do what a test asked.
public enum LiveBackendError: CodedError, Equatable {
    /// It ended before it listened.
    case ended
    /// Fewer runs came in than were waited for.
    case missingRuns(taskID: String, expected: Int, stored: Int)

    public var code: String {
        switch self {
        case .ended: "live_backend.ended"
        case .missingRuns: "live_backend.missing_runs"
        }
    }

    public var message: String {
        switch self {
        case .ended: "the backend ended before it listened"
        case .missingRuns(let taskID, let expected, let stored):
            "\(expected) runs of the task \(quoted(taskID)) were waited for and \(stored) came; see what the agent logged"
        }
    }
}

// MARK: Arranging

extension LiveBackend {
    /// The agent that speaks from this machine; it is registered if it hasn't been yet.
    public func localAgentID() async throws -> String { try await service.agentID(atAddress: "127.0.0.1") }

    /// Publishes a plugin and assigns it to the agent on this machine.
    /// - Parameters:
    ///   - id: Nil for a new one.
    ///   - functions: Command name, without the plugin's id, → function.
    @discardableResult
    public func addPlugin(
        id: String? = nil, name: String = "Test Plugin", script: String, functions: [String: String]
    ) async throws -> PluginDocument {
        let plugin = try await service.publish(NewPlugin(id: id, name: name, script: script, functions: functions))
        _ = try await service.assign(plugin.document.id, to: try await localAgentID())
        return plugin.document
    }

    /// Creates a task for the agent on this machine.
    @discardableResult
    public func addTask(
        id: String? = nil, command: String, cron: String? = nil, arguments: String = "{}"
    ) async throws -> TaskDocument {
        let task = NewTask(
            id: id, agentID: try await localAgentID(), command: command, cron: cron, arguments: arguments)
        return try await service.createTask(task).document
    }
}

// MARK: Looking

extension LiveBackend {
    /// The runs of a task that are stored, the oldest first, with their texts whole.
    public func runs(ofTask taskID: String) async throws -> [StoredRun] {
        var runs: [StoredRun] = []
        var cursor: Int64?
        repeat {
            let page = try await service.runs(
                RunFilter(taskID: taskID), try PageRequest(limit: PageRequest.maximumLimit, cursor: cursor))
            for excerpt in page.elements { runs.append(try await service.run(excerpt.id)) }
            cursor = page.nextCursor
        } while cursor != nil
        return runs.reversed()
    }

    /// Waits until as many runs of a task are stored.
    /// - Parameter limit: After which the test fails; it ends the wait and is not waited for.
    /// - Returns: All of its runs, the oldest first.
    /// - Throws: `LiveBackendError.missingRuns`.
    @discardableResult
    public func waitForRuns(
        ofTask taskID: String, count: Int = 1, limit: Duration = .seconds(60)
    ) async throws -> [StoredRun] {
        // Before counting, so that none falls in between.
        let arrivals = service.storedRuns()
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask { [service] in
                if try await service.runCount(ofTask: taskID) >= count { return true }
                for await run in arrivals where run.taskID == taskID {
                    if try await service.runCount(ofTask: taskID) >= count { return true }
                }
                return false
            }
            group.addTask {
                try await Task.sleep(for: limit)
                return false
            }
            defer { group.cancelAll() }
            guard try await group.next() == true else {
                throw LiveBackendError.missingRuns(
                    taskID: taskID, expected: count, stored: try await service.runCount(ofTask: taskID))
            }
        }
        return try await runs(ofTask: taskID)
    }
}
