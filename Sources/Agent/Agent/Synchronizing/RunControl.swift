import AgentModel
import BackendClient
import Logging
import RunJournal

/// Carries out what the backend wants of runs that are under way.
public struct RunControl: Sendable {
    let dispatcher: Dispatcher
    let journal: RunJournal
    let client: BackendClient
    let stacks: StackReporter
    let logger: Logger

    init(
        dispatcher: Dispatcher, journal: RunJournal, client: BackendClient, stacks: StackReporter, logger: Logger
    ) {
        self.stacks = stacks
        self.dispatcher = dispatcher
        self.journal = journal
        self.client = client
        self.logger = logger
    }

    /// Stops what is to be stopped, and keeps what is to come from beginning. To be called before the task list is taken up.
    /// - Returns: ids of runs that are not under way, for ``reportUnknown(_:)``.
    func accept(_ requests: RunRequests) async -> [String] {
        dispatcher.watch(requests.watch)
        stacks.accept(requests.stacks)
        return await dispatcher.cancel(requests.cancel)
    }

    /// Whether it has ended here, and its result is on its way or was delivered.
    private func isKnown(_ id: String) async -> Bool {
        guard let id = RunID(id) else { return false }
        // Where the journal can't be read nothing is said for now.
        do { return try await journal.reader.run(id) != nil } catch { return true }
    }

    /// So many are reported at a time: tasks don't wait for more.
    private static let mostReports = 100

    /// Tells the backend of which of these runs this agent knows nothing: there is nothing to cancel.
    /// - Returns: whether the backend knows of all: otherwise it is to list them again.
    func reportUnknown(_ ids: [String]) async -> Bool {
        var isTold = ids.count <= Self.mostReports
        for id in ids.prefix(Self.mostReports) where await !isKnown(id) {
            do throws(BackendError) {
                _ = try await client.report(RunProgress(status: .unknown), of: id)
            } catch {
                logger.debug(
                    "could not tell the backend that a run is unknown: \(error.message)",
                    metadata: ["run_id": "\(id)", "code": "\(error.code)"])
                // An id that can't be sent can't be at any other time either.
                if case .invalidPath = error { continue }
                isTold = false
            }
        }
        return isTold
    }
}
