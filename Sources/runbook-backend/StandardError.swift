import Foundation

/// Where messages for people go that aren't a command's result.
enum StandardError {
    static func write(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
}
