/// The contents of a compiled time zone file (TZif, RFC 9636; version 1 files too).
struct TZifFile {
    /// Why bytes are not a usable TZif file, as a part of a sentence.
    struct Problem: Error, Equatable {
        var sentence: String
        init(_ sentence: String) { self.sentence = sentence }
    }

    /// The offset before the first change.
    private(set) var initial: Int64 = 0
    private(set) var changes: [(start: Int64, offset: Int64)] = []
    private(set) var footer: POSIXTimeZone?

    private struct Header {
        var version: UInt8
        var isUTCount, isStandardCount, leapCount, timeCount, typeCount, characterCount: Int

        /// The bytes of the data block that follows.
        func blockLength(timeSize: Int) -> Int {
            timeCount * (timeSize + 1) + typeCount * 6 + characterCount + leapCount * (timeSize + 4) + isStandardCount
                + isUTCount
        }
    }

    private static let headerLength = 44

    init(_ bytes: [UInt8]) throws(Problem) {
        var header = try Self.header(of: bytes[...])
        var block = bytes.dropFirst(Self.headerLength)
        var timeSize = 4
        if header.version != 0 {
            // The first block is for readers of 32 bits; all of it comes again in the second.
            let second = block.dropFirst(header.blockLength(timeSize: 4))
            header = try Self.header(of: second)
            block = second.dropFirst(Self.headerLength)
            timeSize = 8
        }
        let length = header.blockLength(timeSize: timeSize)
        guard block.count >= length else { throw Problem("it is cut short") }
        guard header.leapCount == 0 else {
            throw Problem("it counts leap seconds (\"right/…\"), and cron schedules don't")
        }
        guard header.typeCount > 0 else { throw Problem("it has no local time types") }
        try readBlock(Array(block.prefix(length)), header, timeSize)
        if header.version != 0 { footer = try Self.footer(in: block.dropFirst(length)) }
    }

    private mutating func readBlock(_ block: [UInt8], _ header: Header, _ timeSize: Int) throws(Problem) {
        let indices = header.timeCount * timeSize
        let types = indices + header.timeCount
        var offsets: [Int64] = []
        for type in 0..<header.typeCount {
            let offset = Self.integer(block[(types + type * 6)...].prefix(4))
            guard (-89_999...93_599).contains(offset) else { throw Problem("it has an offset of \(offset) seconds") }
            offsets.append(offset)
        }
        initial = offsets[0]
        for index in 0..<header.timeCount {
            let start = Self.integer(block[(index * timeSize)...].prefix(timeSize))
            let type = Int(block[indices + index])
            guard type < offsets.count else { throw Problem("a change refers to a type that it doesn't have") }
            guard changes.last.map({ $0.start < start }) ?? true else { throw Problem("its changes are not in order") }
            // Far enough from the ends for sums of an instant and an offset.
            changes.append((max(start, -1 << 59), offsets[type]))
        }
    }

    private static func header(of bytes: ArraySlice<UInt8>) throws(Problem) -> Header {
        guard bytes.prefix(4).elementsEqual("TZif".utf8) else { throw Problem("it is not a TZif file") }
        guard bytes.count >= headerLength else { throw Problem("it is cut short") }
        let counts = (0..<6).map { Int(integer(bytes.dropFirst(20 + $0 * 4).prefix(4))) }
        guard counts.allSatisfy({ (0...1_000_000).contains($0) }) else { throw Problem("its counts are out of bounds") }
        return Header(
            version: bytes[bytes.startIndex + 4], isUTCount: counts[0], isStandardCount: counts[1],
            leapCount: counts[2], timeCount: counts[3], typeCount: counts[4], characterCount: counts[5])
    }

    private static func footer(in bytes: ArraySlice<UInt8>) throws(Problem) -> POSIXTimeZone? {
        let newline = UInt8(ascii: "\n")
        guard bytes.first == newline, let end = bytes.dropFirst().firstIndex(of: newline) else {
            throw Problem("its footer is cut short")
        }
        let text = String(decoding: bytes[(bytes.startIndex + 1)..<end], as: UTF8.self)
        if text.isEmpty { return nil }
        guard let rule = POSIXTimeZone(text) else { throw Problem("its footer is not a POSIX time zone") }
        return rule
    }

    /// Signed, in network order.
    private static func integer(_ bytes: some Collection<UInt8>) -> Int64 {
        let isNegative = bytes.first.map { $0 >= 0x80 } ?? false
        return bytes.reduce(isNegative ? -1 : 0) { $0 << 8 | Int64($1) }
    }
}
