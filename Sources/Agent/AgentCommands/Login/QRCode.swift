/// A QR code of a short text (ISO/IEC 18004): byte mode, versions 1 to 10, error correction L or M.
struct QRCode: Equatable {
    /// How much of the symbol may be lost: about 7 % and 15 %.
    enum Correction: Int {
        case low = 0b01
        case medium = 0b00
    }

    /// Modules on each side.
    let size: Int
    /// Row by row; true is dark.
    private(set) var modules: [Bool]
    /// Modules whose colour is not the data's.
    private var isFunction: [Bool]

    subscript(row: Int, column: Int) -> Bool {
        (0..<size).contains(row) && (0..<size).contains(column) && modules[row * size + column]
    }

    /// The smallest code that holds the text; nil where none of the versions does.
    ///
    /// - Parameter mask: 0 to 7; nil takes the one that is easiest to read.
    init?(_ text: String, correction: Correction = .medium, mask: Int? = nil) {
        let bytes = Array(text.utf8)
        let fitting = (1...10).lazy.map { QRVersion(number: $0, correction: correction) }
            .first { bytes.count <= $0.byteCapacity }
        guard let version = fitting else { return nil }
        size = 17 + 4 * version.number
        modules = Array(repeating: false, count: size * size)
        isFunction = modules
        drawFunctionPatterns(version)
        drawData(version.codewords(for: bytes))
        if let mask { apply(mask, correction) } else { chooseMask(correction) }
    }

    // MARK: Function patterns

    private mutating func set(_ row: Int, _ column: Int, _ isDark: Bool) {
        guard (0..<size).contains(row), (0..<size).contains(column) else { return }
        modules[row * size + column] = isDark
        isFunction[row * size + column] = true
    }

    private mutating func drawFunctionPatterns(_ version: QRVersion) {
        for index in 0..<size {
            set(6, index, index % 2 == 0)
            set(index, 6, index % 2 == 0)
        }
        for (row, column) in [(3, 3), (3, size - 4), (size - 4, 3)] { drawFinder(row, column) }
        let centers = version.alignmentCenters
        for row in centers {
            for column in centers {
                // Where the finders are there is none.
                let isFinder =
                    (row == 6 && column == 6) || (row == 6 && column == size - 7)
                    || (row == size - 7 && column == 6)
                if !isFinder { drawAlignment(row, column) }
            }
        }
        drawFormat(0)
        drawVersion(version.number)
    }

    /// With the light border around it.
    private mutating func drawFinder(_ row: Int, _ column: Int) {
        for down in -4...4 {
            for right in -4...4 {
                let ring = max(abs(down), abs(right))
                set(row + down, column + right, ring != 2 && ring != 4)
            }
        }
    }

    private mutating func drawAlignment(_ row: Int, _ column: Int) {
        for down in -2...2 {
            for right in -2...2 { set(row + down, column + right, max(abs(down), abs(right)) != 1) }
        }
    }

    /// The fifteen bits of correction level and mask, twice.
    private mutating func drawFormat(_ bits: Int) {
        func bit(_ index: Int) -> Bool { bits >> index & 1 == 1 }
        let first =
            [(0, 8), (1, 8), (2, 8), (3, 8), (4, 8), (5, 8), (7, 8), (8, 8), (8, 7)]
            + (0...5).reversed().map { (8, $0) }
        for (index, place) in first.enumerated() { set(place.0, place.1, bit(index)) }
        for index in 0..<8 { set(8, size - 1 - index, bit(index)) }
        for index in 8..<15 { set(size - 15 + index, 8, bit(index)) }
        set(size - 8, 8, true)
    }

    private mutating func drawVersion(_ number: Int) {
        guard number >= 7 else { return }
        let bits = Self.withRemainder(number, bits: 12, generator: 0x1F25)
        for index in 0..<18 {
            let isDark = bits >> index & 1 == 1
            set(index / 3, size - 11 + index % 3, isDark)
            set(size - 11 + index % 3, index / 3, isDark)
        }
    }

    /// A number and behind it the remainder of its division as a polynomial: a BCH code.
    private static func withRemainder(_ number: Int, bits: Int, generator: Int) -> Int {
        var remainder = number << bits
        let degree = Int.bitWidth - 1 - generator.leadingZeroBitCount
        while remainder != 0, Int.bitWidth - 1 - remainder.leadingZeroBitCount >= degree {
            remainder ^= generator << (Int.bitWidth - 1 - remainder.leadingZeroBitCount - degree)
        }
        return number << bits | remainder
    }

    // MARK: Data

    /// Up and down in pairs of columns, from the right.
    private mutating func drawData(_ codewords: [UInt8]) {
        var index = 0
        var isUpward = true
        for right in stride(from: size - 1, through: 1, by: -2) {
            let pair = right <= 6 ? right - 1 : right
            for step in 0..<size {
                let row = isUpward ? size - 1 - step : step
                for column in [pair, pair - 1] where !isFunction[row * size + column] {
                    // Remainder bits stay light.
                    guard index < codewords.count * 8 else { continue }
                    modules[row * size + column] = codewords[index / 8] >> (7 - index % 8) & 1 == 1
                    index += 1
                }
            }
            isUpward.toggle()
        }
    }

    private mutating func chooseMask(_ correction: Correction) {
        let candidates = (0..<8).map { mask in
            var candidate = self
            candidate.apply(mask, correction)
            return candidate
        }
        if let best = candidates.min(by: { $0.penalty < $1.penalty }) { self = best }
    }

    private mutating func apply(_ mask: Int, _ correction: Correction) {
        for row in 0..<size {
            for column in 0..<size where !isFunction[row * size + column] && Self.inverts(mask, row, column) {
                modules[row * size + column].toggle()
            }
        }
        let format = Self.withRemainder(correction.rawValue << 3 | mask, bits: 10, generator: 0x537)
        drawFormat(format ^ 0x5412)
    }

    private static func inverts(_ mask: Int, _ row: Int, _ column: Int) -> Bool {
        switch mask {
        case 0: (row + column) % 2 == 0
        case 1: row % 2 == 0
        case 2: column % 3 == 0
        case 3: (row + column) % 3 == 0
        case 4: (row / 2 + column / 3) % 2 == 0
        case 5: row * column % 2 + row * column % 3 == 0
        case 6: (row * column % 2 + row * column % 3) % 2 == 0
        default: ((row + column) % 2 + row * column % 3) % 2 == 0
        }
    }

    /// How hard it is to read (section 7.8.3 of the standard): the mask with the least is taken.
    private var penalty: Int {
        var sum = 0
        let lines =
            (0..<size).map { row in (0..<size).map { self[row, $0] } }
            + (0..<size).map { column in (0..<size).map { self[$0, column] } }
        let finder = [true, false, true, true, true, false, true]
        let edges = [finder + [false, false, false, false], [false, false, false, false] + finder]
        for line in lines {
            var run = 1
            for index in 1...size {
                if index < size, line[index] == line[index - 1] {
                    run += 1
                    continue
                }
                if run >= 5 { sum += run - 2 }
                run = 1
            }
            for start in 0...(size - 11) where edges.contains(Array(line[start..<(start + 11)])) { sum += 40 }
        }
        for row in 1..<size {
            for column in 1..<size {
                let isDark = self[row, column]
                let isBlock =
                    self[row - 1, column] == isDark && self[row, column - 1] == isDark
                    && self[row - 1, column - 1] == isDark
                if isBlock { sum += 3 }
            }
        }
        let share = modules.count { $0 } * 100 / modules.count
        return sum + abs(share - 50) / 5 * 10
    }
}
