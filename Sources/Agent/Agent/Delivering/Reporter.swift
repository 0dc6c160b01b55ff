import AgentModel
public import BackendClient
import DequeModule
import Diagnostics
public import Foundation
public import Logging
public import RunJournal
public import ServiceLifecycle
import Synchronization
import Threads

/// Delivers results from the outbox until the backend has them.
public actor Reporter: Service {
    // More than a dozen properties: what is under way, what waits for a login and what is asked of it meanwhile; how many go at a time is `DeliveryPacing`.
    private let journal: any RunLedger
    private let client: BackendClient
    private let clock: any WallClock
    private var isMinimal: Bool
    /// Called when the outbox may have become smaller.
    private let onDelivery: @Sendable () -> Void
    private var pacing = DeliveryPacing()
    private let logger: Logger
    private let alarm = Alarm()
    /// Something may be due that has not been read.
    private let hasNews = Atomic(true)
    private let isFinishing = Atomic(false)
    /// Nothing more is sent; what is on its way is waited for.
    private let isEnding = Atomic(false)
    /// Read from the outbox and not sent yet.
    private var ready = Deque<Delivery>()
    private var isReading = false
    /// When the next one is due of those that are not read yet.
    private var nextDue: Date?
    /// On their way to the backend, or their end is being written down.
    private var unsettled = 0
    /// The backend has them, and that isn't written down yet.
    private var delivered: [RunID] = []
    private var isWritingDown = false
    /// The journal could not be read or written.
    private var failure: RunJournalError?
    private var random = SystemRandomNumberGenerator()

    /// How long what is on its way at the end may take to be answered.
    private static let endPatience = Duration.seconds(2)
    /// How long to leave a journal alone that can't be read or written, in seconds.
    private static let diskPause: TimeInterval = 5
    /// Bytes kept of each text when a backend says that a result is too large, and says so again.
    private static let cutSizes = [64 << 10, 16 << 10, 4 << 10]
    /// Results that are read from the outbox together.
    private static let readAhead = 256
    /// Fewer that are ready are reason to read.
    private static let lowWater = 128

    /// - Parameter isMinimal: send only what part 1 of the contract names (`result_format = minimal`).
    public init(
        journal: any RunLedger, client: BackendClient, clock: any WallClock, isMinimal: Bool,
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
    public nonisolated func wake() {
        hasNews.store(true, ordering: .releasing)
        alarm.ring()
    }

    /// Delivers until the graceful shutdown. What is on its way then has a moment to be answered: broken off, it would be
    /// sent a second time.
    public func run() async throws {
        let delivery = Task {
            while !Task.isCancelled, !self.isEnding.load(ordering: .acquiring) {
                let next = await self.deliverDue()
                if self.isEnding.load(ordering: .acquiring) { break }
                await self.alarm.wait(until: next, clock: self.clock)
            }
        }
        await withTaskCancellationHandler {
            await withGracefulShutdownHandler {
                await delivery.value
            } onGracefulShutdown: {
                self.isEnding.store(true, ordering: .releasing)
                self.alarm.ring()
                Task {
                    try? await Task.sleep(for: Self.endPatience)
                    delivery.cancel()
                }
            }
        } onCancel: {
            delivery.cancel()
        }
        isEnding.store(false, ordering: .releasing)
    }

    /// Delivers while others add to the outbox, and after ``finish()`` what is due then.
    public func runUntilFinished() async {
        while !Task.isCancelled {
            let isLast = isFinishing.load(ordering: .acquiring)
            let next = await deliverDue()
            if isLast { return }
            // What rang meanwhile may have been heard in there.
            if isFinishing.load(ordering: .acquiring) { continue }
            await alarm.wait(until: next, clock: clock)
        }
    }

    /// Nobody adds to the outbox any more.
    public nonisolated func finish() {
        isFinishing.store(true, ordering: .releasing)
        alarm.ring()
    }

    /// The backend lets the agent in again: what waited for that is due now.
    public func loggedIn() {
        pacing.startOver(now: clock.now)
        alarm.ring()
    }

    /// What of a result is sent from now on.
    public func setMinimal(_ isMinimal: Bool) { self.isMinimal = isMinimal }

    /// Delivers what is due, each task's results in order, at the pace that the backend bears. One call at a time.
    ///
    /// - Returns: when there is something to do again; nil where nothing waits.
    @discardableResult
    public func deliverDue() async -> Date? {
        hasNews.store(true, ordering: .releasing)
        failure = nil
        let pauseEnd = await withDiscardingTaskGroup { group in await feed(&group) }
        for delivery in ready { journal.releaseLease(delivery.runID) }
        ready.removeAll()
        if !delivered.isEmpty { await writeDown() }
        if Task.isCancelled { return nil }
        do {
            if let failure { throw failure }
            if let pauseEnd {
                // Hands out nothing, but notices what a person has discarded.
                _ = try await journal.nextDeliveries(limit: 0, now: clock.now)
                onDelivery()
                return pauseEnd
            }
            onDelivery()
            return try await journal.nextDeliveryTime()
        } catch {
            let coded = error as? any CodedError
            logger.error(
                "could not read or write the outbox: \(coded?.message ?? "\(error)")",
                metadata: ["code": "\(coded?.code ?? "journal.io")"])
            return clock.now.addingTimeInterval(Self.diskPause)
        }
    }

    /// Sends one result after the other, as many at the same time as the pace allows, until none is due.
    ///
    /// - Returns: the end of a pause; nil where nothing is due.
    private func feed(_ group: inout DiscardingTaskGroup) async -> Date? {
        while !Task.isCancelled, failure == nil {
            let pauseEnd = pacing.pauseEnd(now: clock.now)
            if let due = nextDue, due <= clock.now {
                nextDue = nil
                hasNews.store(true, ordering: .releasing)
            }
            if pauseEnd == nil, !isReading, ready.count < Self.lowWater,
                hasNews.exchange(false, ordering: .acquiringAndReleasing)
            {
                isReading = true
                group.addTask { await self.read() }
            }
            if !isWritingDown, !delivered.isEmpty {
                isWritingDown = true
                group.addTask { await self.writeDown() }
            }
            if isEnding.load(ordering: .acquiring) {
                if !isReading, unsettled == 0 { return nil }
                await alarm.wait(until: nil, clock: clock)
                continue
            }
            while pacing.turn(now: clock.now) == .now, let delivery = ready.popFirst() {
                pacing.send(delivery.runID, size: delivery.size, now: clock.now)
                unsettled += 1
                group.addTask { await self.deliver(delivery) }
            }
            // Who settles a result rings afterwards. One that doesn't answer keeps no pause from its end.
            if !isReading, unsettled == 0 {
                if let pauseEnd { return pauseEnd }
                if ready.isEmpty, !hasNews.load(ordering: .acquiring) { return nil }
            }
            await alarm.wait(until: nextLook, clock: clock)
        }
        return nil
    }

    /// When there is something to do unless it rings before.
    private var nextLook: Date? {
        if let end = pacing.pauseEnd(now: clock.now) { return end }
        // What is due then must not wait for one that doesn't answer.
        guard !ready.isEmpty else { return nextDue }
        guard case .at(let time) = pacing.turn(now: clock.now) else { return nextDue }
        return min(time, nextDue ?? time)
    }

    /// Reads ahead, so that what is sent needn't wait for the disk.
    private func read() async {
        do throws(RunJournalError) {
            let deliveries = try await journal.nextDeliveries(limit: Self.readAhead, now: clock.now)
            ready.append(contentsOf: deliveries)
            if deliveries.count == Self.readAhead {
                hasNews.store(true, ordering: .releasing)
            } else {
                nextDue = try await journal.nextDeliveryTime()
            }
        } catch {
            failure = error
        }
        isReading = false
        alarm.ring()
    }

    private func deliver(_ delivery: Delivery) async {
        let metadata: Logger.Metadata = ["task_id": "\(delivery.taskID)", "run_id": "\(delivery.runID)"]
        let outcome = await send(delivery, metadata: metadata)
        // The next one needn't wait until this one's end is written down.
        let delay = note(outcome, of: delivery)
        if case .delivered = outcome {
            logger.info("result delivered", metadata: metadata)
            delivered.append(delivery.runID)
            alarm.ring()
            return
        }
        alarm.ring()
        do throws(RunJournalError) {
            try await settle(delivery, outcome, delay: delay, metadata: metadata)
        } catch {
            journal.releaseLease(delivery.runID)
            failure = error
        }
        unsettled -= 1
        // A later result of its task may be due now.
        hasNews.store(true, ordering: .releasing)
        alarm.ring()
    }

    /// Writes down what the backend has, all of it together.
    private func writeDown() async {
        let runIDs = delivered
        delivered.removeAll(keepingCapacity: true)
        do throws(RunJournalError) {
            try await journal.delivered(runIDs, at: clock.now)
            onDelivery()
        } catch {
            // They are sent once more, and the backend keeps each once.
            for runID in runIDs { journal.releaseLease(runID) }
            failure = error
        }
        isWritingDown = false
        unsettled -= runIDs.count
        hasNews.store(true, ordering: .releasing)
        alarm.ring()
    }

    /// Tells the pacing, and says for how long this result is left alone, in seconds.
    private func note(_ outcome: DeliveryOutcome, of delivery: Delivery) -> TimeInterval {
        let verdict: DeliveryPacing.Verdict
        var delay: TimeInterval = 0
        switch outcome {
        // We broke it off ourselves: it is due as before.
        case .retry where Task.isCancelled: verdict = .cancelled
        case .retry(let after, let error):
            delay = Backoff.delay(
                afterFailures: delivery.attempts + 1, first: Backoff.firstOfOneResult, notBefore: after?.seconds,
                using: &random)
            verdict = error.verdict(retryAfter: after?.seconds)
        // No result's fault: each is due as soon as the agent is let in.
        case .unauthorized: verdict = .unreachable
        case .delivered, .tooLarge, .rejected: verdict = .answered
        }
        let outages = pacing.outages
        pacing.note(verdict, of: delivery.runID, now: clock.now, using: &random)
        if pacing.outages == 1, outages == 0 {
            logger.warning("delivery paused: the backend is unavailable; probing with one result at a time")
        } else if pacing.outages == 0, outages > 0 {
            logger.notice("delivery resumed: the backend takes results again")
        }
        return delay
    }

    private func settle(
        _ delivery: Delivery, _ outcome: DeliveryOutcome, delay: TimeInterval, metadata: Logger.Metadata
    ) async throws(RunJournalError) {
        switch outcome {
        // Together with others, by `writeDown`.
        case .delivered: break
        case .retry(_, let error):
            try await postpone(delivery, by: delay, error, countsAttempt: !Task.isCancelled, metadata: metadata)
        case .unauthorized(let error):
            try await postpone(delivery, by: delay, error, countsAttempt: false, metadata: metadata)
        case .tooLarge(let error), .rejected(let error):
            try await bury(delivery, error, metadata: metadata)
        }
    }

    private func send(_ delivery: Delivery, metadata: Logger.Metadata) async -> DeliveryOutcome {
        var outcome = await send(delivery.result, delivery)
        // Again with the texts cut and marked, while there is something to cut.
        for size in Self.cutSizes {
            guard case .tooLarge = outcome else { return outcome }
            let cut = delivery.result.cut(to: size)
            guard cut != delivery.result else { continue }
            logger.warning(
                "the result is too large for the backend; sending it truncated",
                metadata: metadata.merging(["bytes_of_each_text": "\(size)"], uniquingKeysWith: { $1 }))
            outcome = await send(cut, delivery)
        }
        return outcome
    }

    private func send(_ result: TaskResult, _ delivery: Delivery) async -> DeliveryOutcome {
        await client.deliver(body(of: result), taskID: delivery.taskID, idempotencyKey: delivery.runID.rawValue)
    }

    private func postpone(
        _ delivery: Delivery, by delay: TimeInterval, _ error: BackendError, countsAttempt: Bool,
        metadata: Logger.Metadata
    ) async throws(RunJournalError) {
        try await journal.deferred(
            delivery.runID, until: clock.now.addingTimeInterval(delay), reason: "\(error.code): \(error.message)",
            countsAttempt: countsAttempt, now: clock.now)
        logger.log(
            level: error.isLoginRequired ? .debug : .warning,
            "result not delivered, retrying: \(error.message)",
            metadata: metadata.merging(
                ["code": "\(error.code)", "retry_in_s": "\(Int(delay.rounded(.up)))"], uniquingKeysWith: { $1 }))
    }

    private func bury(_ delivery: Delivery, _ error: BackendError, metadata: Logger.Metadata)
        async throws(RunJournalError)
    {
        try await journal.deadLettered(
            delivery.runID, reason: "\(error.code): \(error.message)", now: clock.now)
        logger.error(
            "the backend rejected the result permanently; it is kept as a dead letter: \(error.message)",
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
    /// What a failed delivery says of the backend. Whatever may be due to one request, one connection or one of several
    /// servers is that request's failure.
    fileprivate func verdict(retryAfter: TimeInterval?) -> DeliveryPacing.Verdict {
        switch self {
        case .credentials, .transport(.nameNotResolved), .transport(.unreachable), .transport(.tls): .unreachable
        // Too many requests (RFC 6585, section 4).
        case .status(_, 429, _, _): .limited(retryAfter: retryAfter)
        default: .failed(retryAfter: retryAfter)
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
        result.pythonStack = cut(pythonStack)
        return result
    }
}
