public import AgentModel
public import Foundation

/// A result that is to be delivered now.
public struct Delivery: Sendable, Equatable {
    /// Also the `Idempotency-Key` of every attempt.
    public var runID: RunID
    public var taskID: String
    public var result: TaskResult
    /// Failed attempts so far.
    public var attempts: Int
    /// The result's size in the outbox, in bytes.
    public var size: Int

    public init(runID: RunID, taskID: String, result: TaskResult, attempts: Int, size: Int) {
        self.runID = runID
        self.taskID = taskID
        self.result = result
        self.attempts = attempts
        self.size = size
    }
}

/// An entry of the outbox as a person looks at it.
public struct OutboxEntry: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable {
        case pending
        case deadLetter = "dead-letter"
    }

    public var runID: RunID
    public var taskID: String
    public var state: State
    public var status: RunStatus
    public var size: Int
    public var attempts: Int
    public var queuedAt: Date
    /// Nil: as soon as possible.
    public var nextAttempt: Date?
    /// Why the last attempt failed.
    public var reason: String?
}
