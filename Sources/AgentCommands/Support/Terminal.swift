import AgentModel
import Foundation
import Glibc

/// What goes to a person's screen.
enum Terminal {
    /// A line on standard error.
    static func writeError(_ line: String) {
        FileHandle.standardError.write(Data((sanitized(line) + "\n").utf8))
    }

    /// Keeps standard output for results: whatever writes to descriptor 1 directly (C code of a plugin, programs
    /// that it starts) ends up on standard error from here on.
    ///
    /// - Returns: a handle on what was standard output.
    static func reserveStandardOutput() -> FileHandle {
        fflush(nil)
        let output = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
        guard output >= 0, dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 else { return .standardOutput }
        return FileHandle(fileDescriptor: output, closeOnDealloc: false)
    }

    /// A text whose control characters can't move the cursor or change colours; line breaks and tabs stay.
    static func sanitized(_ text: String) -> String { text.withoutControlCharacters }

    /// What a plugin wrote, for a file or program as it is, for a person's screen sanitized.
    static func write(_ text: String, on output: FileHandle) {
        let shown = isatty(output.fileDescriptor) == 1 ? sanitized(text) : text
        output.write(Data(shown.utf8))
    }
}
