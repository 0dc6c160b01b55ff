import AgentModel
import Diagnostics
public import Foundation
import Hummingbird
public import Logging
import Synchronization

/// The whole backend: storage opened, seed taken in, ready to listen.
public struct BackendServer: Sendable {
    public let configuration: BackendConfiguration
    public let service: BackendService
    /// The administration token, at the first start only: it is kept as a hash and can't be shown again.
    public let newAdministrationToken: String?
    private let logger: Logger

    /// - Parameter now: The clock that times are taken from.
    /// - Throws: As `BackendService.open`; `ReferenceBackendError.seed`. A database that was made is deleted then.
    public init(
        _ configuration: BackendConfiguration, logger: Logger, now: @escaping @Sendable () -> Date = { Date() }
    ) async throws {
        self.configuration = configuration
        self.logger = logger
        service = try await BackendService.open(
            dataFolder: configuration.dataFolder, creation: configuration.creation, exclusively: true,
            login: configuration.login, maximumAgentStorage: configuration.limits.maximumAgentStorage, now: now)
        do {
            if let seedFolder = configuration.seedFolder { try await service.seed(from: seedFolder) }
            newAdministrationToken = try await service.createAdministrationToken()
        } catch {
            try await service.discardIfNew()
            throw error
        }
    }

    /// Listens until the process gets SIGINT or SIGTERM, or the task is cancelled; then finishes the requests under
    /// way and closes the storage.
    /// - Parameters:
    ///   - handlesSignals: Whether SIGINT and SIGTERM are for this server.
    ///   - onListening: Called once connections are accepted, with the port that was bound.
    /// - Throws: `ReferenceBackendError.listen` when the address can't be bound.
    public func run(
        handlesSignals: Bool = true, onListening: @escaping @Sendable (ListenAddress) async -> Void
    ) async throws {
        let isListening = Atomic(false)
        let application = buildApplication(configuration, service: service, logger: logger) { address in
            isListening.store(true, ordering: .sequentiallyConsistent)
            await onListening(address)
        }
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await repeatedly(every: .seconds(2)) { try await logChanges() } }
                group.addTask { await repeatedly(every: .seconds(3600)) { try await forgetRuns() } }
                defer { group.cancelAll() }
                if handlesSignals {
                    try await application.runService()
                } else {
                    try await application.runService(gracefulShutdownSignals: [])
                }
            }
        } catch {
            try await close()
            if isListening.load(ordering: .sequentiallyConsistent) || error is CancellationError { throw error }
            throw ReferenceBackendError.listen(address: "\(configuration.listen)", problem: Self.problem(of: error))
        }
        try await close()
    }

    /// Does something now and then until the task is cancelled. A failure is for the log: the next time may do.
    private func repeatedly(every period: Duration, _ work: () async throws -> Void) async {
        while !Task.isCancelled {
            do {
                try await work()
            } catch is CancellationError {
                return
            } catch {
                logger.error("database maintenance failed", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: period)
        }
    }

    /// What commands changed beside the server belongs in its log too.
    private func logChanges() async throws {
        for change in try await service.takeChanges() {
            logger.notice(
                "an administrator \(change.what)",
                metadata: ["by": "\(change.by)", "at": "\(RFC3339.string(from: change.madeAt))"])
        }
    }

    private func forgetRuns() async throws {
        guard let days = configuration.runRetention else { return }
        let count = try await service.deleteRuns(
            receivedBefore: service.now().addingTimeInterval(-TimeInterval(days) * 86400))
        if count > 0 { logger.info("deleted \(count) runs that are older than \(days) days") }
    }

    /// What the system said, without the name of the function in front that swift-nio has asked it by.
    private static func problem(of error: any Error) -> String {
        let text = "\(error)"
        return text.prefixMatch(of: #/\w+\([\w:]*\): /#).map { String(text[$0.range.upperBound...]) } ?? text
    }

    private func close() async throws {
        do {
            if try await !service.settleStorage() {
                logger.warning(
                    "another process is using the database; a copy of it needs the -wal file as well",
                    metadata: ["data": "\(configuration.dataFolder.path)"])
            }
        } catch {
            logger.error(
                "could not checkpoint the write-ahead log",
                metadata: ["data": "\(configuration.dataFolder.path)", "error": "\(error)"])
        }
        try await service.close()
    }
}
