import AgentModel
import AgentTestSupport
import Foundation
import RunJournal
import Synchronization
import Testing

@testable import Agent

/// The limit of the outbox, at moments that a whole agent meets by chance only.
@Suite struct OutboxLimitTests {
    @Test func aResultThatLeavesWhileTheOutboxIsFoundFullIsNoticed() async throws {
        let backend = try ScriptedBackend()
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: TemporaryFolder())
        let catalog = PluginCatalog()
        await catalog.expect([], outdated: [])
        let ledger = ShrinkingLedger(agent.runtime.journal)
        let dispatcher = Dispatcher(
            dependencies: Dispatcher.Dependencies(
                journal: ledger, catalog: catalog, executor: agent.runtime.executor, clock: SystemWallClock.shared,
                recheck: { _ in }, onResult: {}, onDamagedPlugin: { _ in }, outboxLimit: { 1000 }),
            workers: 1, logger: agent.runtime.logger)
        // Whoever delivers tells a dispatcher that holds something back, and this one doesn't yet.
        ledger.onShrink { #expect(!dispatcher.holdsBack) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await dispatcher.run() }
            await dispatcher.submit(
                PlannedRun(task: TaskDocument(id: "t", command: "nobody.has", cron: nil, arguments: "{}")))
            await dispatcher.idle()
            group.cancelAll()
        }
        #expect(!dispatcher.holdsBack)
        #expect(try await agent.runtime.journal.reader.history(HistoryFilter(taskID: "t")).map(\.status) == [.rejected])
        await agent.runtime.close()
    }
}

/// A journal whose outbox is full when it is first asked for its size, and has been emptied before the answer is used.
private final class ShrinkingLedger: RunLedger {
    private let journal: RunJournal
    private let state = Mutex<(bytes: Int, onShrink: (@Sendable () -> Void)?)>((1000, nil))

    init(_ journal: RunJournal) { self.journal = journal }

    func onShrink(_ action: @escaping @Sendable () -> Void) { state.withLock { $0.onShrink = action } }

    var outboxBytes: Int {
        let (bytes, onShrink) = state.withLock { exchange(&$0, with: (0, nil)) }
        onShrink?()
        return bytes
    }

    func started(_ run: RunStart) async throws(RunJournalError) -> StartDecision { try await journal.started(run) }

    func finished(
        _ runID: RunID, status: RunStatus, result: TaskResult, now: Date
    ) async throws(RunJournalError) -> Bool {
        try await journal.finished(runID, status: status, result: result, now: now)
    }

    func hasStarted(_ taskID: String) -> Bool { journal.hasStarted(taskID) }

    func startsUnwritten(_ runID: RunID) { journal.startsUnwritten(runID) }

    func completed(_ run: RunStart, result: TaskResult, now: Date) async throws(RunJournalError) -> StartDecision {
        try await journal.completed(run, result: result, now: now)
    }

    func undoStart(_ run: RunStart) async throws(RunJournalError) { try await journal.undoStart(run) }

    func nextDeliveries(limit: Int, now: Date) async throws(RunJournalError) -> [Delivery] {
        try await journal.nextDeliveries(limit: limit, now: now)
    }

    func nextDeliveryTime() async throws(RunJournalError) -> Date? { try await journal.nextDeliveryTime() }

    func releaseLease(_ runID: RunID) { journal.releaseLease(runID) }

    func delivered(_ runIDs: [RunID], at time: Date) async throws(RunJournalError) {
        try await journal.delivered(runIDs, at: time)
    }

    func deferred(
        _ runID: RunID, until time: Date, reason: String, countsAttempt: Bool, now: Date
    ) async throws(RunJournalError) {
        try await journal.deferred(runID, until: time, reason: reason, countsAttempt: countsAttempt, now: now)
    }

    func deadLettered(_ runID: RunID, reason: String, now: Date) async throws(RunJournalError) {
        try await journal.deadLettered(runID, reason: reason, now: now)
    }
}
