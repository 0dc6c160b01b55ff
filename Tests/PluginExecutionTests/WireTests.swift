import Foundation
import Sandbox
import Testing

/// Messages between the agent and a process that may be anyone's.
@Suite struct WireTests {
    /// Both ends of a pair of sockets; the first one doesn't block.
    private static func makePair(limit: Int = 1 << 20) throws -> (WireChannel, other: Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        return (WireChannel(reading: ends[0], writing: ends[0], limit: limit), ends[1])
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        #expect(bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) } == bytes.count)
    }

    private static func header(length: UInt32, kind: UInt32) -> [UInt8] {
        withUnsafeBytes(of: (length, kind)) { Array($0) }
    }

    @Test func fieldsComeBackAsTheyWere() throws {
        let (channel, other) = try Self.makePair()
        let peer = WireChannel(reading: other, writing: other, limit: 1 << 20)
        var writer = WireWriter(kind: 7)
        writer.integer(.max)
        writer.text("")
        writer.text("ä\0\u{1F600}")
        writer.text(String?.none)
        writer.text(Optional("x"))
        writer.blob([0, 255])
        try peer.send(try #require(writer.finished()))
        let values = try channel.receive { kind, reader throws(WireError) -> [String] in
            [
                "\(kind)", "\(try reader.integer())", try reader.text(), try reader.text(),
                "\(String(describing: try reader.optionalText()))", try reader.optionalText() ?? "nil",
                "\(try reader.blob())",
            ]
        }
        #expect(values == ["7", "\(UInt64.max)", "", "ä\0\u{1F600}", "nil", "x", "[0, 255]"])
        #expect(!channel.hasBytes)
    }

    @Test func messagesComeInPieces() throws {
        let (channel, other) = try Self.makePair()
        var writer = WireWriter(kind: 1)
        writer.text("hello")
        let message = try #require(writer.finished())
        for (index, byte) in (message + message).enumerated() {
            Self.write([byte], to: other)
            #expect(try channel.fill())
            let text = try channel.next { _, reader throws(WireError) in try reader.text() }
            #expect(text == ((index + 1) % message.count == 0 ? "hello" : nil))
        }
        #expect(try !channel.fill())
        // Closed, it would stay open in a child that another test just forks.
        shutdown(other, Int32(SHUT_RDWR))
        #expect(throws: WireError.closed) { try channel.fill() }
        close(other)
    }

    @Test func messageLargerThanTheBuffer() async throws {
        let (channel, other) = try Self.makePair(limit: 4 << 20)
        let text = String(repeating: "x", count: 3 << 20)
        var writer = WireWriter(kind: 1)
        writer.text(text)
        let message = try #require(writer.finished())
        let peer = WireChannel(reading: other, writing: other, limit: 0)
        var sent = 0
        var received: String?
        while received == nil {
            if sent < message.count { sent += try peer.sendSome(message, from: sent) }
            _ = try channel.fill()
            received = try channel.next { _, reader throws(WireError) in try reader.text() }
        }
        #expect(received == text)
        #expect(try peer.send(Self.header(length: 0, kind: 1), within: .seconds(60)))
    }

    @Test func whoeverDoesNotReadIsNotWaitedForEndlessly() throws {
        let (channel, other) = try Self.makePair()
        defer { close(other) }
        #expect(try !channel.send([UInt8](repeating: 0, count: 64 << 20), within: .milliseconds(20)))
    }

    @Test(arguments: [UInt32(1 << 20) + 1, 1 << 30, .max])
    func moreAnnouncedThanMayBe(_ length: UInt32) throws {
        let (channel, other) = try Self.makePair()
        defer { close(other) }
        Self.write(Self.header(length: length, kind: 1), to: other)
        #expect(try channel.fill())
        #expect(throws: WireError.tooLong(UInt64(length))) { try channel.next { _, _ throws(WireError) in } }
        // Nor when more of it comes.
        #expect(throws: WireError.tooLong(UInt64(length))) { try channel.fill() }
    }

    /// Announced is little, and comes never: nothing is kept ready for it.
    @Test func announcedBytesAreNotAllocated() throws {
        let (channel, other) = try Self.makePair(limit: 1 << 31)
        defer { close(other) }
        let before = try Self.residentBytes()
        Self.write(Self.header(length: 1 << 30, kind: 1) + [UInt8](repeating: 1, count: 1000), to: other)
        #expect(try channel.fill())
        #expect(try channel.next { _, _ throws(WireError) in } == nil)
        // Other tests run beside this one.
        #expect(try Self.residentBytes() - before < 900 << 20)
    }

    private static func residentBytes() throws -> Int {
        let statistics = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return Int(statistics[1])! * sysconf(Int32(_SC_PAGESIZE))
    }

    struct Malformed: Sendable, CustomTestStringConvertible {
        let name: String
        let body: [UInt8]
        var testDescription: String { name }
    }

    @Test(arguments: [
        Malformed(name: "empty", body: []),
        Malformed(name: "half a number", body: [1, 2, 3, 4]),
        Malformed(name: "text longer than the message", body: [9, 0, 0, 0, 0, 0, 0, 0, 65]),
        Malformed(name: "text of 2^64-1 bytes", body: [UInt8](repeating: 255, count: 8) + [65]),
        Malformed(name: "text of 2^63 bytes", body: [UInt8](repeating: 0, count: 7) + [128, 65]),
        Malformed(name: "something behind it", body: [1, 0, 0, 0, 0, 0, 0, 0, 65, 66]),
    ])
    func malformed(_ testCase: Malformed) throws {
        let (channel, other) = try Self.makePair()
        defer { close(other) }
        Self.write(Self.header(length: UInt32(testCase.body.count), kind: 1) + testCase.body, to: other)
        #expect(try channel.fill())
        #expect(throws: WireError.malformed) {
            try channel.next { _, reader throws(WireError) in try reader.text() }
        }
    }

    /// The same bytes every time. Whatever comes, reading ends, in values or in an error.
    @Test(arguments: 0..<64)
    func randomBytes(_ seed: UInt64) throws {
        var generator = SplitMix(state: seed)
        let (channel, other) = try Self.makePair(limit: 4096)
        defer { close(other) }
        var written = 0
        do throws(WireError) {
            while written < 64 << 10 {
                let count = Int.random(in: 1...512, using: &generator)
                var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
                // Most lengths are to be possible ones, or nothing is ever read.
                if Bool.random(using: &generator) {
                    bytes =
                        Self.header(length: UInt32(count), kind: UInt32.random(in: 0...50, using: &generator)) + bytes
                }
                Self.write(bytes, to: other)
                written += bytes.count
                _ = try channel.fill()
                while try Self.readOne(channel, choice: UInt8.random(in: 0...3, using: &generator)) != nil {}
            }
        } catch {
            #expect(error != .closed)
        }
    }

    private static func readOne(_ channel: WireChannel, choice: UInt8) throws(WireError) -> Int? {
        try channel.next { _, reader throws(WireError) -> Int in
            switch choice {
            case 0: try reader.text().utf8.count
            case 1: try reader.blob().count
            case 2: try reader.optionalText()?.utf8.count ?? 0
            default: Int(truncatingIfNeeded: try reader.integer())
            }
        }
    }

    /// Numbers that are the same for the same seed, of Vigna's splitmix64.
    private struct SplitMix: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = state
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }
    }
}
