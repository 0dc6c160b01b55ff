import AgentModel
import Logging
import RunJournal
import ServiceLifecycle

/// Writes to the journal what must be there, again and again until it is: a full disk must neither start a run that
/// isn't written down nor lose the result of one that ended.
struct RunRecorder {
    let taskID: String
    let logger: Logger
    /// Called when the journal can't be written, and when that is over or was given up.
    let onFailure: @Sendable () async -> Void
    let onEnd: @Sendable () async -> Void

    private static let firstPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(30)

    /// - Returns: nil where the agent stopped before the journal could be written, which was tried once more then.
    func record<Value: Sendable>(
        _ write: () async throws(RunJournalError) -> Value
    ) async -> Value? {
        var pause = Self.firstPause
        var hasFailed = false
        while true {
            let isStopping = Task.isCancelled || Task.isShuttingDownGracefully
            do throws(RunJournalError) {
                let value = try await write()
                if hasFailed { await onEnd() }
                return value
            } catch {
                let isLast = isStopping || error == .closed || error.isFinal
                logger.error(
                    "could not record the run\(isLast ? "" : ", retrying"): \(error.message)",
                    metadata: ["task_id": "\(taskID)", "code": "\(error.code)"])
                if !hasFailed { await onFailure() }
                hasFailed = true
                if isLast {
                    await onEnd()
                    return nil
                }
            }
            let next = pause
            await cancelWhenGracefulShutdown { try? await Task.sleep(for: next) }
            pause = min(pause * 2, Self.longestPause)
        }
    }
}

extension RunJournalError {
    /// Whether the same would be said to every further attempt.
    fileprivate var isFinal: Bool {
        if case .unknownRun = self { return true }
        return isLoss
    }
}
