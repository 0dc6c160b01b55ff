import Foundation
import Synchronization

/// A descriptor that whole lines are written to, each with one write(2) up to 4 KiB.
public final class LogOutput: Sendable {
    /// Standard error, for the life of the process.
    public static let standardError = LogOutput(fileDescriptor: STDERR_FILENO)

    private let fileDescriptor: Int32
    /// Keeps the lines of several threads apart where one needs more than one write.
    private let turn = Mutex(())

    /// How long a reader that takes nothing may hold up the agent, in milliseconds, before its line is dropped.
    private static let patience: Int32 = 1000

    /// - Parameter fileDescriptor: stays the caller's; it must be open as long as this lives.
    public init(fileDescriptor: Int32) { self.fileDescriptor = fileDescriptor }

    /// Whether to colour: it is a terminal that can, and `NO_COLOR` is unset or empty (no-color.org).
    public func isColoured(environment: [String: String]) -> Bool {
        (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb" && isatty(fileDescriptor) == 1
    }

    /// Writes a line, its end included. A line that cannot be written is dropped: there is nowhere to say so.
    func write(_ line: String) {
        var line = line
        line.withUTF8 { bytes in
            turn.withLock { _ in
                var rest = UnsafeRawBufferPointer(bytes)
                while !rest.isEmpty, waitUntilWritable() {
                    // A pipe that is ready takes this much without blocking (pipe(7), PIPE_BUF).
                    let count = Foundation.write(fileDescriptor, rest.baseAddress, min(rest.count, 4096))
                    if count > 0 {
                        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                    } else if errno != EINTR, errno != EAGAIN {
                        return
                    }
                }
            }
        }
    }

    private func waitUntilWritable() -> Bool {
        var request = pollfd(fd: fileDescriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&request, 1, Self.patience) > 0
    }
}
