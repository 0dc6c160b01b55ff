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
    private var isMinimal: Bool
    /// Called when the outbox may have become smaller.
    private let onDelivery: @Sendable () -> Void
    private var pacing = DeliveryPacing()
    private let logger: Logger
    private let alarm = Alarm()
    private var random = SystemRandomNumberGenerator()

    /// How long to leave a journal alone that can't be read or written, in seconds.
    private static let diskPause: TimeInterval = 5
    /// Bytes kept of a text when a backend says that a result is too large.
    private static let cutSize = 64 << 10

    /// - Parameter isMinimal: send only what part 1 of the contract names (`result_format = minimal`).
    public init(
        journal: RunJournal, client: BackendClient, clock: any WallClock, isMinimal: Bool,
        onDelivery: @escaping @Sendable () -> Void = {}, logger: Logger
    ) {
        self.onDelivery = onDelivery
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

    /// What of a result is sent from now on.
    public func setMinimal(_ isMinimal: Bool) { self.isMinimal = isMinimal }

    /// Delivers what is due, each task's results in order, at the pace that the backend bears.
    ///
    /// - Returns: when there is something to do again; nil where nothing waits.
    @discardableResult
    public func deliverDue() async -> Date? {
        do {
            while !Task.isCancelled {
                if let end = pacing.pauseEnd(now: clock.now) {
                    // Hands out nothing, but notices what a person has discarded.
                    _ = try await journal.nextDeliveries(limit: 0, now: clock.now)
                    onDelivery()
                    return end
                }
                let deliveries = try await journal.nextDeliveries(limit: pacing.width, now: clock.now)
                guard !deliveries.isEmpty else {
                    onDelivery()
                    return try await journal.nextDeliveryTime()
                }
                let verdicts = try await withThrowingTaskGroup(of: DeliveryPacing.Verdict.self) { group in
                    for delivery in deliveries {
                        group.addTask {
                            do {
                                return try await self.deliver(delivery)
                            } catch {
                                self.journal.handBack(delivery.runID)
                                throw error
                            }
                        }
                    }
                    var verdicts: [DeliveryPacing.Verdict] = []
                    for try await verdict in group { verdicts.append(verdict) }
                    return verdicts
                }
                if Task.isCancelled { return nil }
                note(verdicts)
            }
        } catch {
            let coded = error as? any CodedError
            logger.error(
                "the outbox could not be read or written: \(coded?.message ?? "\(error)")",
                metadata: ["code": "\(coded?.code ?? "journal.io")"])
            return clock.now.addingTimeInterval(Self.diskPause)
        }
        return nil
    }

    private func note(_ verdicts: [DeliveryPacing.Verdict]) {
        let outages = pacing.outages
        pacing.note(verdicts, now: clock.now, using: &random)
        if pacing.outages == 1, outages == 0 {
            logger.warning("the backend takes no results now; one at a time asks whether it does again")
        } else if pacing.outages == 0, outages > 0 {
            logger.notice("the backend takes results again")
        }
    }

    private func deliver(_ delivery: Delivery) async throws -> DeliveryPacing.Verdict {
        let metadata: Logger.Metadata = ["task": "\(delivery.taskID)", "run": "\(delivery.runID)"]
        var outcome = await send(delivery.result, delivery)
        if case .tooLarge(let error) = outcome {
            // Once more with the texts cut and marked.
            let cut = delivery.result.cut(to: Self.cutSize)
            if cut == delivery.result {
                outcome = .rejected(error)
            } else {
                logger.warning("the result is too large for the backend and is sent cut", metadata: metadata)
                outcome = await send(cut, delivery)
            }
        }
        switch outcome {
        case .delivered:
            try await journal.delivered(delivery.runID, at: clock.now)
            logger.info("result delivered", metadata: metadata)
            onDelivery()
            return .answered
        case .retry(_, let error) where Task.isCancelled:
            // We broke it off ourselves: it is due as before.
            try await postpone(delivery, by: 0, error, countsAttempt: false, metadata: metadata)
            return .answered
        case .retry(let after, let error):
            let delay = after?.seconds ?? Backoff.delay(afterFailures: delivery.attempts + 1, using: &random)
            try await postpone(delivery, by: delay, error, countsAttempt: true, metadata: metadata)
            return error.concernsBackend ? .unavailable(retryAfter: after?.seconds) : .failed
        case .unauthorized(let error):
            // No result's fault: each is due as soon as the agent is let in.
            try await postpone(delivery, by: 0, error, countsAttempt: false, metadata: metadata)
            return .unavailable(retryAfter: nil)
        case .tooLarge(let error), .rejected(let error):
            try await bury(delivery, error, metadata: metadata)
            return .answered
        }
    }

    private func send(_ result: TaskResult, _ delivery: Delivery) async -> DeliveryOutcome {
        await client.deliver(body(of: result), taskID: delivery.taskID, idempotencyKey: delivery.runID.rawValue)
    }

    private func postpone(
        _ delivery: Delivery, by delay: TimeInterval, _ error: BackendError, countsAttempt: Bool,
        metadata: Logger.Metadata
    ) async throws {
        try await journal.deferred(
            delivery.runID, until: clock.now.addingTimeInterval(delay), reason: "\(error.code): \(error.message)",
            countsAttempt: countsAttempt, now: clock.now)
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

extension BackendError {
    /// Whether it would be the same with every other result: nobody there, or nobody that takes anything now.
    fileprivate var concernsBackend: Bool {
        switch self {
        case .transport, .credentials: true
        // Too many requests (RFC 6585, section 4), and what stands in front of a backend that is away (RFC 9110,
        // section 15.6).
        case .status(_, let status, _, _): [429, 502, 503, 504].contains(status)
        default: false
        }
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
