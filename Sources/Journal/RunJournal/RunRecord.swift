public import AgentModel
public import Foundation

/// A run as the journal keeps it.
public struct RunRecord: Sendable, Equatable {
    public var start: RunStart
    /// Nil while it runs.
    public var status: RunStatus?
    public var finishedAt: Date?
    public var durationMilliseconds: Double?
    /// Without its traceback in lists.
    public var error: RunError?
    public var delivery: DeliveryState
    /// Everything that is delivered, output and traceback included. Nil in lists and while it runs.
    public var result: TaskResult?

    public var runID: RunID { start.runID }
    public var taskID: String { start.taskID }
}

/// How far the result of a run has come on its way to the backend.
public enum DeliveryState: Sendable, Equatable {
    /// The run has not finished.
    case running
    /// In the outbox. `reason` is why the last attempt failed.
    case pending(attempts: Int, nextAttempt: Date?, reason: String?)
    case delivered(at: Date)
    /// In the outbox, and not tried again by itself.
    case deadLetter(attempts: Int, reason: String?)
    /// Taken out of the outbox by a person.
    case discarded(at: Date)
}

/// Which runs of the history are wanted.
public struct HistoryFilter: Sendable, Equatable {
    public var taskID: String?
    public var status: RunStatus?
    /// Only runs that have no status yet.
    public var isUnfinished: Bool

    public init(taskID: String? = nil, status: RunStatus? = nil, isUnfinished: Bool = false) {
        self.taskID = taskID
        self.status = status
        self.isUnfinished = isUnfinished
    }
}

/// The journal in numbers.
public struct JournalCounts: Sendable, Equatable {
    /// Runs started and not finished.
    public var running: Int
    /// Finished runs that are still in the journal.
    public var finished: Int
    /// Results that wait for their delivery.
    public var pending: Int
    public var deadLetters: Int
    /// The size of pending results and dead letters, in bytes.
    public var outboxBytes: Int
    /// When the oldest pending result was put into the outbox.
    public var oldestPending: Date?
    /// One-off task ids that will not start again.
    public var oneOffTasks: Int
}
