import AgentCommands
import CInitProcess
import Dispatch
import ProcessLogging

@main
struct Main {
    static func main() {
        StandardDescriptors.openMissing()
        // Before anything else, and not on a thread of Swift's pool: a process is confined while it has one thread.
        RunbookAgent.runSandboxedProcessIfAsked()
        rb_init_process_if_first()
        Task { await RunbookAgent.runAndExit() }
        dispatchMain()
    }
}
