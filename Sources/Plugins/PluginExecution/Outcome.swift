public import AgentModel
public import Foundation
import Threads

/// What became of one invocation.
public struct Outcome: Sendable, Equatable {
    public var status: RunStatus
    /// What the contract calls `data`.
    public var data: String?
    /// Nil when the run succeeded.
    public var error: RunError?
    public var stdout: String
    public var stderr: String
    /// Where a run that was stopped was in its code before that, as a traceback says it; nil where that isn't known.
    public var pythonStack: String?
    public var startedAt: Date
    /// By a clock that isn't set: it may differ from the difference of two times of day.
    public var duration: Duration
    /// How the code was confined: `in-process`.
    public var isolation: RunIsolation
    /// False where the agent was stopped before the call's turn had come: nothing of the plugin ran.
    public var hasBegun = true

    public var finishedAt: Date { startedAt.addingTimeInterval(duration.seconds) }

    public init(
        status: RunStatus, data: String? = nil, error: RunError? = nil, stdout: String = "", stderr: String = "",
        startedAt: Date, duration: Duration = .zero, isolation: RunIsolation
    ) {
        self.status = status
        self.data = data
        self.error = error
        self.stdout = stdout
        self.stderr = stderr
        self.startedAt = startedAt
        self.duration = duration
        self.isolation = isolation
    }
}
