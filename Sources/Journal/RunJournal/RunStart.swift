public import Foundation

/// What is known of a run at the moment it begins.
public struct RunStart: Sendable, Equatable {
    public var runID: RunID
    public var taskID: String
    /// Whether the task has no schedule: such a task starts once in the life of the state directory.
    public var isOneOff: Bool
    public var command: String
    /// Nil where no plugin provides the command.
    public var pluginID: String?
    public var function: String?
    /// The fire time this run stands for; nil for a one-off.
    public var scheduledFor: Date?
    public var startedAt: Date
    /// `in-process` or the level of the sandbox.
    public var isolation: String?

    public init(
        runID: RunID = RunID(), taskID: String, isOneOff: Bool, command: String, pluginID: String? = nil,
        function: String? = nil, scheduledFor: Date? = nil, startedAt: Date, isolation: String? = nil
    ) {
        self.runID = runID
        self.taskID = taskID
        self.isOneOff = isOneOff
        self.command = command
        self.pluginID = pluginID
        self.function = function
        self.scheduledFor = scheduledFor
        self.startedAt = startedAt
        self.isolation = isolation
    }
}

/// What the journal says to a run that wants to start.
public enum StartDecision: Sendable, Equatable {
    /// It is written down and on disk: the plugin's code may run.
    case go
    /// A one-off task of this id was started or rejected before; nothing was written.
    case alreadyRan
}
