extension String {
    /// The text as it may be shown on a terminal, whoever wrote it: each control character but line breaks and tabs, and
    /// each that reverses the direction of writing, is U+FFFD.
    public var withoutControlCharacters: String {
        guard unicodeScalars.contains(where: \.steersTerminals) else { return self }
        return String(
            String.UnicodeScalarView(unicodeScalars.map { $0.steersTerminals ? "\u{FFFD}" : $0 }))
    }
}

extension Unicode.Scalar {
    /// C0 and C1 controls, and the embeddings, overrides and isolates of the bidirectional algorithm (UAX #9).
    fileprivate var steersTerminals: Bool {
        switch value {
        case 0x09, 0x0A: false
        case 0x00...0x1F, 0x7F...0x9F, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
