import AgentModel
import Foundation
import RunJournal
import Synchronization

/// Carries runs and results in memory alone, at the least cost there is: what the journal is compared with.
final class MemoryLedger: RunLedger {
    private struct State {
        var taskIDs: [RunID: String] = [:]
        var outbox: [Delivery] = []
    }

    private let state = Mutex(State())

    var outboxBytes: Int { 0 }

    func started(_ run: RunStart) async throws(RunJournalError) -> StartDecision {
        state.withLock { $0.taskIDs[run.runID] = run.taskID }
        return .go
    }

    func finished(
        _ runID: RunID, status: RunStatus, result: TaskResult, now: Date
    ) async throws(RunJournalError) -> Bool {
        state.withLock { state in
            guard let taskID = state.taskIDs.removeValue(forKey: runID) else { return false }
            state.outbox.append(Delivery(runID: runID, taskID: taskID, result: result, attempts: 0, size: 0))
            return true
        }
    }

    func hasStarted(_ taskID: String) -> Bool { false }

    func startsUnwritten(_ runID: RunID) {}

    func completed(_ run: RunStart, result: TaskResult, now: Date) async throws(RunJournalError) -> StartDecision {
        _ = try await started(run)
        _ = try await finished(run.runID, status: result.status ?? .rejected, result: result, now: now)
        return .go
    }

    func undoStart(_ run: RunStart) async throws(RunJournalError) {
        state.withLock { $0.taskIDs[run.runID] = nil }
    }

    func nextDeliveries(limit: Int, now: Date) async throws(RunJournalError) -> [Delivery] {
        state.withLock { state in
            let taken = Array(state.outbox.suffix(limit))
            state.outbox.removeLast(taken.count)
            return taken
        }
    }

    func nextDeliveryTime() async throws(RunJournalError) -> Date? { nil }

    func releaseLease(_ runID: RunID) {}

    func delivered(_ runIDs: [RunID], at time: Date) async throws(RunJournalError) {}

    // The server that is measured against takes everything; a result that it doesn't take shows in its count.
    func deferred(
        _ runID: RunID, until time: Date, reason: String, countsAttempt: Bool, now: Date
    ) async throws(RunJournalError) {}

    func deadLettered(_ runID: RunID, reason: String, now: Date) async throws(RunJournalError) {}
}
