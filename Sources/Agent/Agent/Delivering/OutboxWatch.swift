import AgentModel
public import Logging
public import RunJournal
public import ServiceLifecycle

/// Notices what a person does to the outbox of a running agent: `outbox retry` and `outbox discard` are processes of
/// their own, which change the journal and can't wake anybody here.
public struct OutboxWatch: Service {
    private let journal: RunJournal
    private let onChange: @Sendable () -> Void
    private let logger: Logger

    /// How long a change may go unnoticed, in seconds.
    public static let interval = 5

    /// - Parameter onChange: called when another process has changed the journal.
    public init(journal: RunJournal, logger: Logger, onChange: @escaping @Sendable () -> Void) {
        self.journal = journal
        self.logger = logger
        self.onChange = onChange
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                await look()
                try? await Task.sleep(for: .seconds(Self.interval))
            }
        }
    }

    private func look() async {
        do {
            if try await journal.wasChangedByAnother() { onChange() }
        } catch {
            // Whoever writes says it louder.
            logger.debug("could not read the journal: \(error.message)", metadata: ["code": "\(error.code)"])
        }
    }
}
