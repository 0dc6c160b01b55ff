import AgentModel
import Foundation
import Threads

/// The name of one run: a UUIDv7 (RFC 9562, section 5.7) in lower case, so that sorting by text sorts by time.
public struct RunID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// 36 characters, lower case.
    public let rawValue: String

    /// A new id, greater than every id made before in this process, also when the clock is set back.
    public init() {
        var random = SystemRandomNumberGenerator()
        self.init(ticks: Self.nextTicks(at: Date()), random: random.next())
    }

    /// Reads an id as a person or a database gives it; either case. Nil where the text is not a UUID.
    public init?(_ text: String) {
        guard text.utf8.count == 36, let uuid = UUID(uuidString: text) else { return nil }
        rawValue = uuid.uuidString.lowercased()
    }

    /// For rows that this module wrote itself.
    init(stored text: String) { rawValue = text }

    /// - Parameters:
    ///   - ticks: 1/4096 ms since 1970. The upper 48 bits become `unix_ts_ms`, the lower 12 `rand_a`, as in method 3
    ///     of RFC 9562, section 6.2.
    ///   - random: its lower 62 bits become `rand_b`.
    init(ticks: UInt64, random: UInt64) {
        let high = (ticks >> 12) << 16 | 0x7000 | (ticks & 0xFFF)
        let low = 0x8000_0000_0000_0000 | (random & 0x3FFF_FFFF_FFFF_FFFF)
        var text = ""
        text.reserveCapacity(36)
        for (index, shift) in stride(from: 60, through: 0, by: -4).enumerated() {
            if index == 8 || index == 12 { text.append("-") }
            text.append(Self.digits[Int(high >> UInt64(shift) & 0xF)])
        }
        for (index, shift) in stride(from: 60, through: 0, by: -4).enumerated() {
            if index == 0 || index == 4 { text.append("-") }
            text.append(Self.digits[Int(low >> UInt64(shift) & 0xF)])
        }
        rawValue = text
    }

    public var description: String { rawValue }

    public static func < (lhs: RunID, rhs: RunID) -> Bool { lhs.rawValue < rhs.rawValue }

    private static let digits = Array("0123456789abcdef")
    private static let lastTicks = BlockingLock<UInt64>(0)

    private static func nextTicks(at date: Date) -> UInt64 {
        let now = UInt64(max(0, date.timeIntervalSince1970) * 1000 * 4096)
        return lastTicks.withLock { last in
            last = max(now, last + 1)
            return last
        }
    }
}
