import Foundation

/// A command's result. Written at once, also into a pipe: who waits for the line must not wait for a full buffer.
enum StandardOutput {
    static func write(_ line: String) { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }
}
