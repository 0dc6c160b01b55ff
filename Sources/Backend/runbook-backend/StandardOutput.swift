import AgentModel
import Diagnostics
import Foundation

/// A command's result. Written at once, also into a pipe: who waits for the line must not wait for a full buffer.
enum StandardOutput {
    /// A reader that has gone away doesn't end a server. On a terminal, what agents and plugins call themselves moves no
    /// cursor.
    static func write(_ line: String) {
        let shown = isatty(STDOUT_FILENO) == 1 ? line.withoutControlCharacters : line
        try? FileHandle.standardOutput.write(contentsOf: Data("\(shown)\n".utf8))
    }
}
