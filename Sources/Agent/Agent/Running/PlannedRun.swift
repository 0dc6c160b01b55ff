public import AgentModel
public import Foundation

/// A run that is due: a one-off task, or one fire time of a schedule.
public struct PlannedRun: Sendable, Hashable {
    public var task: TaskDocument
    /// Nil for a one-off.
    public var scheduledFor: Date?

    public init(task: TaskDocument, scheduledFor: Date? = nil) {
        self.task = task
        self.scheduledFor = scheduledFor
    }
}

extension PlannedRun {
    /// What it asks the catalog. A schedule's time has come; it runs on what is there.
    var question: PluginCatalog.Question {
        PluginCatalog.Question(command: task.command, awaitsUpdate: scheduledFor == nil)
    }
}
