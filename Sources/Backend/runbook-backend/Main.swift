import Dispatch
import Glibc
import ProcessLogging

@main
struct Main {
    static func main() {
        // Before anything is opened, which an asynchronous `main` would do.
        StandardDescriptors.openMissing()
        // A reader that goes away, of a log or of a list, is an error of write(2) and not the end of the server.
        signal(SIGPIPE, SIG_IGN)
        Task { await RunbookBackend.runAndExit() }
        dispatchMain()
    }
}
