import Dispatch
import Glibc
import ProcessLogging
import RunbookCommands

@main
struct Main {
    static func main() {
        StandardDescriptors.openMissing()
        // A reader that goes away is an error of write(2) and not the end of the client.
        signal(SIGPIPE, SIG_IGN)
        Task { await Runbook.runAndExit() }
        dispatchMain()
    }
}
