public import AgentModel
public import Foundation

/// What carries a run from its start to its delivered result: the ``RunJournal``, or in the benchmarks something that
/// keeps it in memory, so that what the journal costs shows beside it.
public protocol RunLedger: Sendable {
    /// The size of all pending results and dead letters, in bytes.
    var outboxBytes: Int { get }

    func started(_ run: RunStart) async throws(RunJournalError) -> StartDecision
    @discardableResult
    func finished(
        _ runID: RunID, status: RunStatus, result: TaskResult, now: Date
    ) async throws(RunJournalError) -> Bool
    @discardableResult
    func completed(_ run: RunStart, result: TaskResult, now: Date) async throws(RunJournalError) -> StartDecision
    /// Whether a one-off task of this id was started or completed before. Answered from memory.
    func hasStarted(_ taskID: String) -> Bool
    /// A run begins whose start is not written down.
    func startsUnwritten(_ runID: RunID)
    func undoStart(_ run: RunStart) async throws(RunJournalError)

    func nextDeliveries(limit: Int, now: Date) async throws(RunJournalError) -> [Delivery]
    func nextDeliveryTime() async throws(RunJournalError) -> Date?
    func releaseLease(_ runID: RunID)
    func delivered(_ runIDs: [RunID], at time: Date) async throws(RunJournalError)
    func deferred(
        _ runID: RunID, until time: Date, reason: String, countsAttempt: Bool, now: Date
    ) async throws(RunJournalError)
    func deadLettered(_ runID: RunID, reason: String, now: Date) async throws(RunJournalError)
}

extension RunJournal: RunLedger {}
