import Glibc

/// One end of a connection that messages go through. For one thread at a time.
///
/// Between the agent and a child it is a socket in one direction and a pipe in the other, see ``SandboxChild``.
///
/// Unchecked because whoever uses it sees to that.
public final class WireChannel: @unchecked Sendable {
    /// The buffer that is kept between messages.
    private static let usualCapacity = 64 << 10
    /// What is made room for before it has come.
    private static let trustedCapacity = 4 << 20

    /// Where messages come from: ready to be read in poll(2) where one is there, or its beginning.
    public let reading: Int32
    /// Where messages go.
    public let writing: Int32
    /// A pipe, to which send(2) doesn't write.
    private let writesToPipe: Bool
    /// Bytes that a message which comes may have at most.
    public var limit: Int
    private var buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: usualCapacity, alignment: 16)
    private var start = 0
    private var end = 0

    /// Takes the descriptors over. One socket may be both.
    public init(reading: Int32, writing: Int32, limit: Int) {
        (self.reading, self.writing, self.limit) = (reading, writing, limit)
        var status = stat()
        writesToPipe = fstat(writing, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }

    deinit {
        close(reading)
        if writing != reading { close(writing) }
        buffer.deallocate()
    }

    /// Ends the direction to the other end, which finds that nothing comes any more.
    public func shutDown() { shutdown(writing, Int32(SHUT_RDWR)) }

    // MARK: Sending

    /// Sends a message, waiting as long as it takes.
    public func send(_ message: [UInt8]) throws(WireError) {
        var sent = 0
        while sent < message.count {
            switch try sendSome(message, from: sent) {
            case 0: _ = try wait(on: writing, for: Int16(POLLOUT), milliseconds: -1)
            case let count: sent += count
            }
        }
    }

    /// Sends a message, waiting for so long at most. False where the time has passed: the other end then has a part of
    /// it, and the channel is of no more use.
    public func send(_ message: [UInt8], within limit: Duration) throws(WireError) -> Bool {
        let deadline = ContinuousClock.now + limit
        var sent = 0
        while true {
            sent += try sendSome(message, from: sent)
            guard sent < message.count else { return true }
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { return false }
            _ = try wait(on: writing, for: Int16(POLLOUT), milliseconds: Self.milliseconds(left))
        }
    }

    /// Rounded up, so that waiting so long isn't waiting too little.
    private static func milliseconds(_ duration: Duration) -> Int32 {
        let (seconds, attoseconds) = duration.components
        return Int32(clamping: seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1)
    }

    /// Sends what fits without waiting. Returns how many bytes.
    public func sendSome(_ message: [UInt8], from offset: Int) throws(WireError) -> Int {
        while true {
            let count = message.withUnsafeBytes { bytes in
                // To a pipe only the child writes, which ignores SIGPIPE.
                writesToPipe
                    ? write(writing, bytes.baseAddress! + offset, bytes.count - offset)
                    : Glibc.send(writing, bytes.baseAddress! + offset, bytes.count - offset, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 { return count }
            switch errno {
            case EINTR: continue
            case EAGAIN: return 0
            case EPIPE, ECONNRESET: throw .closed
            case let error: throw .system(error)
            }
        }
    }

    // MARK: Receiving

    /// Waits for a message.
    public func receive<Value>(
        _ body: (UInt32, inout WireReader) throws(WireError) -> Value
    ) throws(WireError) -> Value {
        while true {
            if let value = try next(body) { return value }
            if try !fill() { _ = try wait(on: reading, for: Int16(POLLIN), milliseconds: -1) }
        }
    }

    /// Waits for a message for so long at most; nil where none came.
    public func receive<Value>(
        within limit: Duration, _ body: (UInt32, inout WireReader) throws(WireError) -> Value
    ) throws(WireError) -> Value? {
        let deadline = ContinuousClock.now + limit
        while true {
            if let value = try next(body) { return value }
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { return nil }
            if try wait(on: reading, for: Int16(POLLIN), milliseconds: Self.milliseconds(left)) { _ = try fill() }
        }
    }

    /// Hands the next message to a closure, if it is there as a whole.
    public func next<Value>(
        _ body: (UInt32, inout WireReader) throws(WireError) -> Value
    ) throws(WireError) -> Value? {
        guard let length = try announcedLength, end - start >= Wire.headerSize + length else { return nil }
        let kind = buffer.loadUnaligned(fromByteOffset: start + 4, as: UInt32.self)
        let first = start + Wire.headerSize
        var reader = WireReader(UnsafeRawBufferPointer(rebasing: buffer[first..<first + length]))
        let value = try body(kind, &reader)
        try reader.finish()
        start = first + length
        if start == end { shrink() }
        return value
    }

    /// Whether bytes are there that no one has asked for.
    public var hasBytes: Bool { end > start }

    /// Reads what is there without waiting. False where nothing is.
    public func fill() throws(WireError) -> Bool {
        try makeRoom()
        while true {
            let count = read(reading, buffer.baseAddress! + end, buffer.count - end)
            if count > 0 {
                end += count
                return true
            }
            if count == 0 { throw .closed }
            switch errno {
            case EINTR: continue
            case EAGAIN: return false
            case ECONNRESET: throw .closed
            case let error: throw .system(error)
            }
        }
    }

    private var announcedLength: Int? {
        get throws(WireError) {
            guard end - start >= Wire.headerSize else { return nil }
            let length = buffer.loadUnaligned(fromByteOffset: start, as: UInt32.self)
            guard Int(length) <= limit else { throw .tooLong(UInt64(length)) }
            return Int(length)
        }
    }

    /// Room for some more bytes. Much that is announced isn't believed before it comes: the buffer grows with what is
    /// there.
    private func makeRoom() throws(WireError) {
        if start == end { (start, end) = (0, 0) }
        let needed = Wire.headerSize + (try announcedLength ?? 0)
        let count = end - start
        guard end == buffer.count || needed > buffer.count && needed <= Self.trustedCapacity else { return }
        let capacity = max(count + Self.usualCapacity, min(needed, max(2 * count, Self.trustedCapacity)))
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 16)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
        buffer.deallocate()
        buffer = larger
        (start, end) = (0, count)
    }

    private func shrink() {
        (start, end) = (0, 0)
        guard buffer.count > 4 * Self.usualCapacity else { return }
        buffer.deallocate()
        buffer = .allocate(byteCount: Self.usualCapacity, alignment: 16)
    }

    private func wait(on descriptor: Int32, for events: Int16, milliseconds: Int32) throws(WireError) -> Bool {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        while true {
            let count = poll(&entry, 1, milliseconds)
            if count >= 0 { return count > 0 }
            guard errno == EINTR else { throw .system(errno) }
        }
    }
}
