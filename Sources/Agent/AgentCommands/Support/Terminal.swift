import AgentModel
import Diagnostics
import Dispatch
import Foundation
import Glibc
import ProcessLogging
import Synchronization

/// What goes to a person's screen.
enum Terminal {
    /// A line on standard error, after what has been logged before it. Waits for a reader, but not for ever.
    static func writeError(_ line: String) {
        LogOutput.standardError.write(sanitized(line) + "\n")
        LogOutput.standardError.flush(within: errorPatience)
    }

    private static let errorPatience = Duration.seconds(5)
    private static let isOutputReserved = Atomic(false)
    private static let exitPatience = Duration.seconds(1)

    /// Writes out what is still in memory, before the process ends with `_exit`.
    ///
    /// A command's own output waits for its reader. Where standard output was reserved it holds nothing of ours, and a
    /// reader that takes nothing, or a plugin's thread that writes, must not keep the process from ending.
    static func flush() {
        if isOutputReserved.load(ordering: .acquiring) {
            let isDone = DispatchSemaphore(value: 0)
            Thread.detachNewThread {
                fflush(nil)
                isDone.signal()
            }
            _ = isDone.wait(timeout: .now() + exitPatience / .seconds(1))
        } else {
            fflush(nil)
        }
        LogOutput.standardError.flush(within: exitPatience)
    }

    /// Keeps standard output for results: whatever writes to descriptor 1 directly (C code of a plugin, programs
    /// that it starts) ends up on standard error from here on.
    ///
    /// - Returns: a handle on what was standard output.
    static func reserveStandardOutput() -> FileHandle {
        fflush(nil)
        isOutputReserved.store(true, ordering: .releasing)
        let output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        guard output >= 0, dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 else { return .standardOutput }
        return FileHandle(fileDescriptor: output, closeOnDealloc: false)
    }

    /// A text whose control characters can't move the cursor or change colours; line breaks and tabs stay.
    static func sanitized(_ text: String) -> String { text.withoutControlCharacters }

    /// What a plugin wrote, for a file or program as it is, for a person's screen sanitized.
    static func write(_ text: String, on output: FileHandle) {
        let shown = isatty(output.fileDescriptor) == 1 ? sanitized(text) : text
        // Where nobody reads any more there is nobody to tell.
        try? output.write(contentsOf: Data(shown.utf8))
    }
}
