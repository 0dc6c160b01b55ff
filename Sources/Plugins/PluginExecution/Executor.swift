public import AgentModel

/// Runs plugins. One interface for every tier of isolation.
public protocol Executor: Sendable {
    /// Loads a plugin, or replaces the one of the same id: calls in flight finish on the old one, later ones run on
    /// the new one. A failed load leaves the old one in place.
    ///
    /// - Returns: what the script wrote while it was loaded.
    /// - Throws: ``PluginExecutionError``.
    @discardableResult
    func load(_ image: PluginImage) async throws(PluginExecutionError) -> String

    /// Calls the plugin's `shutdown()` with a deadline, after its calls in flight, and gives its memory back.
    ///
    /// - Returns: what went wrong in `shutdown()`, for the log.
    @discardableResult
    func unload(_ id: PluginID) async -> RunError?

    /// Runs one call, waiting for its turn. Always returns an outcome.
    func execute(_ invocation: Invocation) async -> Outcome

    /// Stops the call of a run whose ``Cancellation`` was requested, by the steps of a time limit. It is reported `cancelled`,
    /// unless it ends by itself meanwhile. Does nothing where no such call is under way.
    func cancel(_ runID: String)

    /// Has the call of a run whose ``OutputRelay`` has an observer tell that what it writes. Does nothing where no such call is
    /// under way: one that begins later tells from its beginning on.
    func observe(_ runID: String)

    /// Where the call of a run is in its code now, as a traceback says it, also while the GIL is held. The call goes on
    /// undisturbed. Nil where no such call is under way, or where it can't be told within some seconds.
    func stack(of runID: String) async -> String?

    /// Which of these functions the loaded plugin can't call: missing or not callable.
    func missingFunctions(among functions: [String], of id: PluginID) async -> [String]

    /// What confines the plugin's code, as outcomes say it: `in-process`, `sandbox`.
    func isolation(of id: PluginID) -> RunIsolation

    /// Changes how the plugin's calls are run, from the next one on.
    func configure(_ id: PluginID, concurrency: Int, timeLimit: Duration?, keepsPrograms: Bool?)

    /// Begins no call and no load any more. Calls that wait for their turn end at once or when it would have come, with an outcome
    /// that says that they have not begun.
    func stopStarting()

    /// Stops all calls and loads as if their time limits had passed, those that wait included. Each call is reported
    /// `interrupted`; a load throws ``PluginExecutionError/stopped``.
    func stopCalls()

    /// Unloads everything.
    func shutDown() async
}
