import Dispatch
import Foundation
import Synchronization

/// A descriptor that whole lines are written to, on a thread of their own: whoever logs never waits for who reads.
///
/// What nobody takes is kept up to a bound, in memory; beyond that lines are dropped and counted, and a line says so as
/// soon as one can be written.
public final class LogOutput: Sendable {
    /// Standard error, for the life of the process.
    public static let standardError = LogOutput(fileDescriptor: STDERR_FILENO)

    private struct State {
        var lines: [String] = []
        /// Of UTF-8, in `lines`.
        var bytes = 0
        /// Lines that there was no room for, or that could not be written, since that was said last.
        var dropped = 0
        /// A line that says how many.
        var notice: (@Sendable (Int) -> String)?
        /// There was no room: that is said also where no other line follows.
        var wasFull = false
        var hasThread = false
        /// Everything is written, and the thread sleeps.
        var isIdle = false
        var waiters: [DispatchSemaphore] = []

        mutating func sayDropped() {
            guard dropped > 0, let notice else { return }
            let line = notice(dropped)
            dropped = 0
            lines.append(line)
            bytes += line.utf8.count
        }
    }

    private let fileDescriptor: Int32
    private let capacity: Int
    private let state = Mutex(State())
    private let work = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - fileDescriptor: stays the caller's; it must be open as long as this lives.
    ///   - capacity: bytes of lines that are kept while nobody takes them.
    public init(fileDescriptor: Int32, capacity: Int = 1 << 20) {
        self.fileDescriptor = fileDescriptor
        self.capacity = capacity
    }

    /// Whether to colour: it is a terminal that can, and `NO_COLOR` is unset or empty (no-color.org).
    public func isColoured(environment: [String: String]) -> Bool {
        (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb" && isatty(fileDescriptor) == 1
    }

    /// Hands a text over to be written as it is. Returns at once.
    public func write(_ text: String) { write(text, notice: nil) }

    /// Hands a line over, its end included. Returns at once.
    ///
    /// - Parameter notice: makes the line that says how many were dropped.
    func write(_ line: String, notice: (@Sendable (Int) -> String)?) {
        let size = line.utf8.count
        let (starts, wakes) = state.withLock { state -> (Bool, Bool) in
            if let notice { state.notice = notice }
            guard state.bytes + size <= capacity else {
                state.dropped += 1
                state.wasFull = true
                return (false, false)
            }
            // Where they are missing.
            state.sayDropped()
            state.lines.append(line)
            state.bytes += size
            defer { (state.hasThread, state.isIdle) = (true, false) }
            return (!state.hasThread, state.isIdle)
        }
        if starts { Thread.detachNewThread { [self] in run() } }
        if wakes { work.signal() }
    }

    /// Waits until everything is written that was handed over before.
    ///
    /// - Returns: false where that takes longer than the limit.
    @discardableResult
    public func flush(within limit: Duration) -> Bool {
        let isDone = DispatchSemaphore(value: 0)
        let isIdle = state.withLock { state in
            guard state.hasThread, !state.isIdle else { return true }
            state.waiters.append(isDone)
            return false
        }
        let (seconds, attoseconds) = limit.components
        let nanoseconds = Int(clamping: seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000)
        return isIdle || isDone.wait(timeout: .now() + .nanoseconds(nanoseconds)) == .success
    }

    // MARK: The thread

    private func run() {
        while true {
            let (lines, waiters) = state.withLock { state -> ([String], [DispatchSemaphore]) in
                if state.wasFull { state.sayDropped() }
                state.wasFull = false
                guard state.lines.isEmpty else {
                    defer { (state.lines, state.bytes) = ([], 0) }
                    return (state.lines, [])
                }
                state.isIdle = true
                defer { state.waiters = [] }
                return ([], state.waiters)
            }
            guard !lines.isEmpty else {
                for waiter in waiters { waiter.signal() }
                work.wait()
                continue
            }
            let failed = lines.count { !put($0) }
            if failed > 0 { state.withLock { $0.dropped += failed } }
        }
    }

    /// Writes a line, however long that takes. False where it can't be written.
    private func put(_ line: String) -> Bool {
        var line = line
        return line.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let count = Foundation.write(fileDescriptor, rest.baseAddress, rest.count)
                if count > 0 {
                    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                } else if errno == EAGAIN {
                    // Somebody who has the same pipe or terminal has made it non-blocking.
                    var request = pollfd(fd: fileDescriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&request, 1, -1)
                } else if errno != EINTR {
                    return false
                }
            }
            return true
        }
    }
}
