/// How much a QR code of one version holds, and how its data is laid out (ISO/IEC 18004, tables 7 and 9).
struct QRVersion {
    let number: Int
    private let blocks: [Int]
    /// Of each block.
    private let correctionCount: Int

    /// Data codewords of each block, and correction codewords a block, of versions 1 to 10.
    private static let low: [(blocks: [Int], correction: Int)] = [
        ([19], 7), ([34], 10), ([55], 15), ([80], 20), ([108], 26), ([68, 68], 18), ([78, 78], 20), ([97, 97], 24),
        ([116, 116], 30), ([68, 68, 69, 69], 18),
    ]
    private static let medium: [(blocks: [Int], correction: Int)] = [
        ([16], 10), ([28], 16), ([44], 26), ([32, 32], 18), ([43, 43], 24), ([27, 27, 27, 27], 16),
        ([31, 31, 31, 31], 18), ([38, 38, 39, 39], 22), ([36, 36, 36, 37, 37], 22), ([43, 43, 43, 43, 44], 26),
    ]

    /// - Parameter number: 1 to 10.
    init(number: Int, correction: QRCode.Correction) {
        let entry = (correction == .low ? Self.low : Self.medium)[number - 1]
        self.number = number
        blocks = entry.blocks
        correctionCount = entry.correction
    }

    /// Bytes of text that fit: what is left after the mode and the count.
    var byteCapacity: Int { blocks.reduce(0, +) - (number < 10 ? 2 : 3) }

    /// Rows, and columns, of the alignment patterns' centres.
    var alignmentCenters: [Int] {
        switch number {
        case 1: []
        case 2...6: [6, 10 + 4 * number]
        // The middle one lies halfway, on an even distance.
        default: [6, 8 + 2 * number, 10 + 4 * number]
        }
    }

    /// The text with its mode, padding and correction, in the order in which it is drawn.
    func codewords(for bytes: [UInt8]) -> [UInt8] {
        var bits: [Bool] = []
        func append(_ value: Int, _ count: Int) {
            for index in (0..<count).reversed() { bits.append(value >> index & 1 == 1) }
        }
        append(0b0100, 4)
        append(bytes.count, number < 10 ? 8 : 16)
        for byte in bytes { append(Int(byte), 8) }
        let capacity = blocks.reduce(0, +) * 8
        append(0, min(4, capacity - bits.count))
        append(0, (8 - bits.count % 8) % 8)
        var data = stride(from: 0, to: bits.count, by: 8).map { start in
            bits[start..<(start + 8)].reduce(UInt8(0)) { $0 << 1 | ($1 ? 1 : 0) }
        }
        var padding: [UInt8] = [0xEC, 0x11]
        while data.count * 8 < capacity {
            data.append(padding[0])
            padding.reverse()
        }
        return interleaved(data)
    }

    private func interleaved(_ data: [UInt8]) -> [UInt8] {
        var rest = data[...]
        let pieces = blocks.map { count in
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        let corrections = pieces.map { ReedSolomon.correction(of: $0, count: correctionCount) }
        func woven(_ lists: [[UInt8]]) -> [UInt8] {
            var woven: [UInt8] = []
            for index in 0..<(lists.map(\.count).max() ?? 0) {
                for list in lists where index < list.count { woven.append(list[index]) }
            }
            return woven
        }
        return woven(pieces) + woven(corrections)
    }
}

/// The error correction of QR codes: over the field of 256 elements with the polynomial x^8+x^4+x^3+x^2+1.
private enum ReedSolomon {
    private static let powers: [UInt8] = {
        var powers: [UInt8] = [1]
        while powers.count < 255 {
            let doubled = Int(powers[powers.count - 1]) << 1
            powers.append(UInt8(doubled & 0x100 == 0 ? doubled : doubled ^ 0x11D))
        }
        return powers
    }()

    private static let logarithms: [UInt8: Int] = Dictionary(
        uniqueKeysWithValues: powers.enumerated().map { ($1, $0) })

    static func correction(of data: [UInt8], count: Int) -> [UInt8] {
        let generator = generator(degree: count)
        var remainder = data + [UInt8](repeating: 0, count: count)
        for index in data.indices {
            let factor = remainder[index]
            guard factor != 0 else { continue }
            for (offset, coefficient) in generator.enumerated() {
                remainder[index + offset] ^= product(factor, coefficient)
            }
        }
        return Array(remainder.suffix(count))
    }

    /// (x - 2^0)(x - 2^1)… with its highest coefficient first.
    private static func generator(degree: Int) -> [UInt8] {
        var result: [UInt8] = [1]
        for root in 0..<degree {
            var next = result + [0]
            for (index, coefficient) in result.enumerated() {
                next[index + 1] ^= product(coefficient, powers[root])
            }
            result = next
        }
        return result
    }

    private static func product(_ left: UInt8, _ right: UInt8) -> UInt8 {
        guard let one = logarithms[left], let other = logarithms[right] else { return 0 }
        return powers[(one + other) % 255]
    }
}
