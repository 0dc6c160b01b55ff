import AgentModel
public import BackendClient
public import Foundation
public import Logging
public import RunJournal
public import ServiceLifecycle

/// Delivers results from the outbox until the backend has them.
public actor Reporter: Service {
    private let journal: RunJournal
    private let client: BackendClient
    private let clock: any WallClock
    private let isMinimal: Bool
    private let logger: Logger
    private let alarm = Alarm()
    private var random = SystemRandomNumberGenerator()

    /// How many results are on their way at the same time, each of another task.
    private static let concurrency = 8
    /// Bytes kept of a text when a backend says that a result is too large.
    private static let cutSize = 64 << 10

    /// - Parameter isMinimal: send only what part 1 of the contract names (`result_format = minimal`).
    public init(
        journal: RunJournal, client: BackendClient, clock: any WallClock, isMinimal: Bool, logger: Logger
    ) {
        self.journal = journal
        self.client = client
        self.clock = clock
        self.isMinimal = isMinimal
        self.logger = logger
    }

    /// There is something new in the outbox.
    public nonisolated func wake() { alarm.ring() }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                let next = await self.deliverDue()
                await self.alarm.wait(until: next, clock: self.clock)
            }
        }
    }

    /// Delivers what is due, each task's results in order.
    ///
    /// - Returns: when the next result is due; nil where nothing waits.
    @discardableResult
    public func deliverDue() async -> Date? {
        do {
            while !Task.isCancelled {
                let deliveries = try await journal.nextDeliveries(limit: Self.concurrency, now: clock.now)
                guard !deliveries.isEmpty else { return try await journal.nextDeliveryTime() }
                try await withThrowingDiscardingTaskGroup { group in
                    for delivery in deliveries {
                        group.addTask {
                            do {
                                try await self.deliver(delivery)
                            } catch {
                                self.journal.handBack(delivery.runID)
                                throw error
                            }
                        }
                    }
                }
            }
        } catch {
            let coded = error as? any CodedError
            logger.error(
                "the outbox could not be read or written: \(coded?.message ?? "\(error)")",
                metadata: ["code": "\(coded?.code ?? "journal.io")"])
            return clock.now.addingTimeInterval(Backoff.longest)
        }
        return nil
    }

    private func deliver(_ delivery: Delivery) async throws {
        let outcome = await client.deliver(
            body(of: delivery.result), taskID: delivery.taskID, idempotencyKey: delivery.runID.rawValue)
        let metadata: Logger.Metadata = ["task": "\(delivery.taskID)", "run": "\(delivery.runID)"]
        switch outcome {
        case .delivered:
            try await journal.delivered(delivery.runID, at: clock.now)
            logger.info("result delivered", metadata: metadata)
        case .retry(_, let error) where error.code == "http.cancelled":
            // The agent stops: the flush, or the next life, has it again.
            journal.handBack(delivery.runID)
        case .retry(let after, let error):
            try await postpone(delivery, after: after?.seconds, error, metadata: metadata)
        case .unauthorized(let error):
            try await postpone(delivery, after: nil, error, metadata: metadata)
        case .tooLarge(let error):
            try await deliverCut(delivery, error, metadata: metadata)
        case .rejected(let error):
            try await bury(delivery, error, metadata: metadata)
        }
    }

    /// After a `413`: once more with the texts cut and marked.
    private func deliverCut(_ delivery: Delivery, _ error: BackendError, metadata: Logger.Metadata) async throws {
        let cut = delivery.result.cut(to: Self.cutSize)
        guard cut != delivery.result else { return try await bury(delivery, error, metadata: metadata) }
        logger.warning("the result is too large for the backend and is sent cut", metadata: metadata)
        let outcome = await client.deliver(
            body(of: cut), taskID: delivery.taskID, idempotencyKey: delivery.runID.rawValue)
        switch outcome {
        case .delivered: try await journal.delivered(delivery.runID, at: clock.now)
        case .tooLarge(let error), .rejected(let error): try await bury(delivery, error, metadata: metadata)
        case .retry(let after, let error):
            try await postpone(delivery, after: after?.seconds, error, metadata: metadata)
        case .unauthorized(let error): try await postpone(delivery, after: nil, error, metadata: metadata)
        }
    }

    private func postpone(
        _ delivery: Delivery, after seconds: TimeInterval?, _ error: BackendError, metadata: Logger.Metadata
    ) async throws {
        let delay = seconds ?? Backoff.delay(afterFailures: delivery.attempts + 1, using: &random)
        try await journal.deferred(
            delivery.runID, until: clock.now.addingTimeInterval(delay), reason: "\(error.code): \(error.message)")
        logger.warning(
            "the result could not be delivered and is tried again: \(error.message)",
            metadata: metadata.merging(
                ["code": "\(error.code)", "retry_in_s": "\(Int(delay.rounded(.up)))"], uniquingKeysWith: { $1 }))
    }

    private func bury(_ delivery: Delivery, _ error: BackendError, metadata: Logger.Metadata) async throws {
        try await journal.deadLettered(delivery.runID, reason: "\(error.code): \(error.message)")
        logger.error(
            "the backend refuses the result for good; it is kept as a dead letter: \(error.message)",
            metadata: metadata.merging(["code": "\(error.code)"], uniquingKeysWith: { $1 }))
    }

    private func body(of result: TaskResult) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        // Numbers that aren't finite are all that could fail, and a duration is finite.
        return (try? encoder.encode(isMinimal ? result.minimal : result)) ?? Data(#"{"data":null}"#.utf8)
    }
}

extension TaskResult {
    /// The result with every long text cut to that many bytes and marked.
    func cut(to size: Int) -> TaskResult {
        func cut(_ text: String?) -> String? {
            guard let text, text.utf8.count > size else { return text }
            // A character that was cut through is replaced.
            return String(decoding: text.utf8.prefix(size), as: UTF8.self)
                + "\n[cut from \(text.utf8.count) bytes: too large for the backend]\n"
        }
        var result = self
        result.data = cut(data)
        result.stdout = cut(stdout)
        result.stderr = cut(stderr)
        result.error?.message = cut(error?.message) ?? ""
        result.error?.traceback = cut(error?.traceback)
        return result
    }
}
