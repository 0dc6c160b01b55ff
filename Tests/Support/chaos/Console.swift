import Foundation

/// Standard output, a line at a time: progress is watched also through a pipe.
enum Console {
    static func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}
