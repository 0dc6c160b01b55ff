import Foundation

/// Gzip made by hand (RFC 1951, RFC 1952): no compressor makes a bomb as small.
enum Gzip {
    /// Zeros, 158 of them in each byte.
    static func zeros(_ count: Int) -> Data {
        var bits = BitWriter()
        bits.append(1, count: 1)  // the last block
        bits.append(1, count: 2)  // fixed Huffman codes
        bits.appendCode(0x30, count: 8)  // the literal 0
        var left = count - 1
        while left >= 258 {
            bits.appendCode(0b1100_0101, count: 8)  // length 258
            bits.appendCode(0, count: 5)  // distance 1
            left -= 258
        }
        for _ in 0..<left { bits.appendCode(0x30, count: 8) }
        bits.appendCode(0, count: 7)  // end of block
        var data = Data([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]) + bits.finish()
        withUnsafeBytes(of: checksumOfZeros(count).littleEndian) { data.append(contentsOf: $0) }
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: count).littleEndian) { data.append(contentsOf: $0) }
        return data
    }

    private static func checksumOfZeros(_ count: Int) -> UInt32 {
        var checksum = UInt32.max
        for _ in 0..<(count * 8) { checksum = checksum & 1 == 1 ? (checksum >> 1) ^ 0xEDB8_8320 : checksum >> 1 }
        return ~checksum
    }

    private struct BitWriter {
        private var bytes: [UInt8] = []
        private var current: UInt32 = 0
        private var used = 0

        /// The lowest bit first.
        mutating func append(_ value: UInt32, count: Int) {
            for index in 0..<count { appendBit(value >> UInt32(index) & 1) }
        }

        /// The highest bit first, as Huffman codes are.
        mutating func appendCode(_ value: UInt32, count: Int) {
            for index in (0..<count).reversed() { appendBit(value >> UInt32(index) & 1) }
        }

        mutating func finish() -> Data {
            while used != 0 { appendBit(0) }
            return Data(bytes)
        }

        private mutating func appendBit(_ bit: UInt32) {
            current |= bit << UInt32(used)
            used += 1
            if used == 8 {
                bytes.append(UInt8(current))
                current = 0
                used = 0
            }
        }
    }
}
