internal import AgentModel
internal import CPrograms
internal import Glibc
internal import Synchronization
import Threads

/// A pipe into which the programs of one call write, read by a thread of ours so that none of them ever waits.
///
/// Unchecked because `state` is guarded by its lock and the rest doesn't change.
final class ProgramPipe: @unchecked Sendable {
    /// So many times as much as is kept may be written before nobody reads any more.
    private static let flood = 64

    private struct State {
        /// -1 once it is closed.
        var readingEnd: Int32
        var writingEnd: Int32
        /// What was read and not yet taken.
        var bytes: [UInt8] = []
        /// Bytes that have come out of the pipe.
        var written = 0
        /// Of them those that were put into `bytes`.
        var kept = 0
        var isFlooded = false
        var isLate = false
        /// Who is told when there is something to take; nil where nobody watches.
        var notice: ProgramNotice?
    }

    /// Never used twice.
    let number: Int
    let writingEnd: Int32
    private let limit: Int
    private let state: BlockingLock<State>

    private static let lastNumber = Atomic<Int>(0)

    /// - Parameter limit: bytes that are kept.
    init?(limit: Int) {
        var ends: [Int32] = [-1, -1]
        guard rb_open_pipe(&ends) == 0 else { return nil }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        number = Self.lastNumber.add(1, ordering: .relaxed).newValue
        writingEnd = ends[1]
        self.limit = limit
        state = BlockingLock(State(readingEnd: ends[0], writingEnd: ends[1]))
    }

    deinit {
        state.withLock { state in
            if state.readingEnd >= 0 { close(state.readingEnd) }
            if state.writingEnd >= 0 { close(state.writingEnd) }
        }
    }

    var isFlooded: Bool { state.withLock { $0.isFlooded } }

    /// -1 once it is closed.
    var readingEnd: Int32 { state.withLock { $0.readingEnd } }

    /// All that has been written so far and was not taken yet.
    func take() -> [UInt8] {
        state.withLock { state in
            // What a program wrote before it ended is there: no more than fits into a pipe. One that goes on writing isn't
            // waited for.
            for _ in 0..<4 where read(&state) {}
            defer { state.bytes = [] }
            return state.bytes
        }
    }

    /// No one takes from it any more; it stays open for what still writes into it.
    func finish() {
        state.withLock { state in
            state.isLate = true
            state.bytes = []
            state.notice = nil
            if state.writingEnd >= 0 { close(state.writingEnd) }
            state.writingEnd = -1
        }
    }

    /// Reads on, on the reading thread. Returns what came after the call's end.
    func readOn() -> [UInt8] {
        let (late, notice) = state.withLock { state -> ([UInt8], ProgramNotice?) in
            _ = read(&state)
            guard state.isLate else { return ([], state.bytes.isEmpty ? nil : state.notice) }
            defer { state.bytes = [] }
            return (state.bytes, nil)
        }
        notice?.raise()
        return late
    }

    func setNotice(_ notice: ProgramNotice) {
        let hasBytes = state.withLock { state in
            state.notice = notice
            return !state.bytes.isEmpty
        }
        if hasBytes { notice.raise() }
    }

    /// Whether there may be more.
    private func read(_ state: inout State) -> Bool {
        guard state.readingEnd >= 0 else { return false }
        let limit = limit
        return withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 16) { buffer in
            let count = Glibc.read(state.readingEnd, buffer.baseAddress!, buffer.count)
            if count < 0 { return errno == EINTR }
            state.written += count
            // One more than is kept, so that it is seen that something was cut.
            let room = state.isLate ? count : max(0, limit + 1 - state.kept)
            state.bytes.append(contentsOf: buffer.prefix(min(count, room)))
            state.kept += min(count, room)
            state.isFlooded = !state.isLate && state.written > Self.flood * limit
            if count == 0 || state.isFlooded {
                close(state.readingEnd)
                state.readingEnd = -1
            }
            return count > 0
        }
    }
}

/// Tells that there is something to take, and says it again only when it has been taken.
final class ProgramNotice: Sendable {
    private let isRaised = Atomic<Bool>(false)
    private let tell: @Sendable (ProgramNotice) -> Void

    init(_ tell: @escaping @Sendable (ProgramNotice) -> Void) { self.tell = tell }

    func raise() {
        if !isRaised.exchange(true, ordering: .acquiringAndReleasing) { tell(self) }
    }

    /// To be called before what there is is taken: what comes meanwhile is told again.
    func reset() { isRaised.store(false, ordering: .releasing) }
}

/// All pipes into which programs may write, and the thread that reads them.
enum ProgramPipes {
    /// In a structure of its own, see `BlockingLock`.
    struct Late {
        var take: (@Sendable (String) -> Void)?
    }

    static let late = BlockingLock(Late())

    private struct State {
        var pipes: [Int: ProgramPipe] = [:]
        /// Written to when there is another pipe to wait for; -1 before the thread is there.
        var bell: Int32 = -1
    }

    private static let state = BlockingLock(State())

    static func find(_ number: Int) -> ProgramPipe? { state.withLock { $0.pipes[number] } }

    static func add(_ pipe: ProgramPipe) {
        let bell = state.withLock { state in
            state.pipes[pipe.number] = pipe
            return state.bell
        }
        var byte: UInt8 = 0
        _ = write(bell, &byte, 1)
    }

    /// Starts the thread where it isn't there. False where that can't be.
    static func startReading() -> Bool {
        state.withLock { state in
            if state.bell >= 0 { return true }
            var ends: [Int32] = [-1, -1]
            guard rb_open_pipe(&ends) == 0 else { return false }
            for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
            let bell = ends[0]
            do throws(PythonEmbeddingError) {
                try NativeThread.start(name: "program-output") { read(wokenBy: bell) }
            } catch {
                ends.forEach { close($0) }
                return false
            }
            state.bell = ends[1]
            return true
        }
    }

    private static func read(wokenBy bell: Int32) {
        while true {
            let pipes = state.withLock { state in
                state.pipes = state.pipes.filter { $0.value.readingEnd >= 0 }
                return Array(state.pipes.values)
            }
            var entries = [pollfd(fd: bell, events: Int16(POLLIN), revents: 0)]
            // A closed one has been left out since, and poll(2) passes over what is negative.
            entries += pipes.map { pollfd(fd: $0.readingEnd, events: Int16(POLLIN), revents: 0) }
            guard poll(&entries, nfds_t(entries.count), -1) > 0 else { continue }
            if entries[0].revents != 0 {
                var bytes: [UInt8] = Array(repeating: 0, count: 256)
                _ = Glibc.read(bell, &bytes, bytes.count)
            }
            for (pipe, entry) in zip(pipes, entries.dropFirst()) where entry.revents != 0 {
                let late = pipe.readOn()
                if !late.isEmpty { log(String(decoding: late, as: UTF8.self)) }
            }
        }
    }

    /// What came when nobody was there any more whose output it is.
    static func log(_ text: String) {
        if let take = late.withLock({ $0.take }) { return take(text) }
        // Standard error may be a pipe that no one reads.
        var entry = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, 0) == 1, entry.revents == Int16(POLLOUT) else { return }
        // So much fits into a pipe that may be written to (pipe(7)). It may also be a terminal.
        let text = text.utf8.prefix(Int(PIPE_BUF)).map { $0 >= 0x20 && $0 != 0x7F || $0 == 10 || $0 == 9 ? $0 : 0x3F }
        _ = write(STDERR_FILENO, text, text.count)
    }
}
