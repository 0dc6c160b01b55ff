/// Pixels as text: two of them, one above the other, in each character.
enum HalfBlocks {
    /// - Parameter isSet: by row and column.
    static func lines(height: Int, width: Int, isSet: (Int, Int) -> Bool) -> [String] {
        stride(from: 0, to: height, by: 2).map { row in
            String(
                (0..<width).map { column -> Character in
                    switch (isSet(row, column), row + 1 < height && isSet(row + 1, column)) {
                    case (true, true): "█"
                    case (true, false): "▀"
                    case (false, true): "▄"
                    case (false, false): " "
                    }
                })
        }
    }
}

extension QRCode {
    /// The quiet zone, in modules: four by the standard.
    private static let border = 4

    /// Characters in each line.
    var textWidth: Int { size + 2 * Self.border }

    /// Light modules are drawn and dark ones left out, as most terminals are dark; the colours are set all the same, so
    /// that it can be read on a light one too.
    var lines: [String] {
        HalfBlocks.lines(height: textWidth, width: textWidth) { !self[$0 - Self.border, $1 - Self.border] }
            .map { "\u{1B}[97;40m\($0)\u{1B}[0m" }
    }
}

/// Letters and digits seven pixels high, to be read from afar.
enum BlockLetters {
    /// A text in block letters; nil where it has a character without one, or is wider than `width`.
    static func lines(_ text: String, width: Int) -> [String]? {
        let glyphs = text.uppercased().compactMap { font[$0] }
        guard glyphs.count == text.count, !glyphs.isEmpty else { return nil }
        let columns = glyphs.count * 6 - 1
        // Twice as large where there is room.
        guard let scale = [2, 1].first(where: { columns * $0 <= width }) else { return nil }
        return HalfBlocks.lines(height: 7 * scale, width: columns * scale) { row, column in
            let (row, column) = (row / scale, column / scale)
            guard column % 6 < 5 else { return false }
            return glyphs[column / 6][row] >> (4 - column % 6) & 1 == 1
        }
    }

    /// Seven rows of five pixels.
    private static let font: [Character: [UInt8]] = [
        "A": [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        "B": [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110],
        "C": [0b01111, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b01111],
        "D": [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110],
        "E": [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
        "F": [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000],
        "G": [0b01111, 0b10000, 0b10000, 0b10011, 0b10001, 0b10001, 0b01111],
        "H": [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        "I": [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b11111],
        "J": [0b00111, 0b00001, 0b00001, 0b00001, 0b00001, 0b10001, 0b01110],
        "K": [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001],
        "L": [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
        "M": [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001],
        "N": [0b10001, 0b11001, 0b10101, 0b10101, 0b10011, 0b10001, 0b10001],
        "O": [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        "P": [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000],
        "Q": [0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101],
        "R": [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
        "S": [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110],
        "T": [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
        "U": [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        "V": [0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b01010, 0b00100],
        "W": [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001],
        "X": [0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b01010, 0b10001],
        "Y": [0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
        "Z": [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111],
        "0": [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        "1": [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        "2": [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        "3": [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110],
        "4": [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        "5": [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        "6": [0b01110, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b01110],
        "7": [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        "8": [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        "9": [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00001, 0b01110],
        "-": [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000],
        " ": [0, 0, 0, 0, 0, 0, 0],
    ]
}
