import Glibc

/// Where a call is in its code, on the way from a sandboxed process to the agent: the call's number, a line end, the text, and
/// a zero. What comes without is what `faulthandler` has written in a crash.
enum StackText {
    /// Less than what fits into a pipe that nobody reads.
    private static let limit = 48 << 10

    /// Without waiting: what doesn't fit is lost.
    static func write(_ text: String, of id: UInt64, to descriptor: Int32) {
        let bytes = Array("\(id)\n".utf8) + text.utf8.filter { $0 != 0 }.prefix(limit) + [0]
        _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }

    /// What of the bytes was said of that call; nil where nothing was, as yet.
    static func find(in bytes: [UInt8], of id: UInt64) -> String? {
        for message in bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast() {
            let text = String(decoding: message, as: UTF8.self)
            let mark = "\(id)\n"
            if text.hasPrefix(mark) { return String(text.dropFirst(mark.count)) }
        }
        return nil
    }

    /// What a crash has left.
    static func crash(in bytes: [UInt8]) -> String? {
        bytes.split(separator: 0, omittingEmptySubsequences: false).last.map { String(decoding: $0, as: UTF8.self) }
    }
}
