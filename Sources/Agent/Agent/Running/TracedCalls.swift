import AgentModel
import PluginExecution
import RunJournal

/// Puts what the executor says of its threads into the journal's trace.
struct TracedCalls: CallObserver {
    let trace: CallTrace

    func codeBegins(of plugin: PluginID, runID: String?, scriptHash: String) {
        trace.enter(run: runID, plugin: plugin.rawValue, scriptHash: scriptHash)
    }

    func codeEnded() { trace.leave() }
}
