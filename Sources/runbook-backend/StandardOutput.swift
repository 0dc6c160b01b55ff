import Foundation

/// A command's result. Written at once, also into a pipe: who waits for the line must not wait for a full buffer.
enum StandardOutput {
    /// A reader that has gone away doesn't end a server.
    static func write(_ line: String) { try? FileHandle.standardOutput.write(contentsOf: Data("\(line)\n".utf8)) }
}
