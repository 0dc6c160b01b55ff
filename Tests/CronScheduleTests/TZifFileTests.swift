import Testing

@testable import CronSchedule

/// TZif files.
@Suite struct TZifFileTests {
    /// What a file is written from.
    struct Source {
        var version: UInt8 = UInt8(ascii: "2")
        var changes: [(start: Int64, type: UInt8)] = []
        var types: [Int32] = [0]
        var leapSeconds = 0
        var footer: String? = ""

        var bytes: [UInt8] {
            let first =
                version == 0
                ? block(timeSize: 4) : header(times: 0, types: 1, leaps: 0) + [UInt8](repeating: 0, count: 10)
            guard version != 0 else { return first }
            return first + block(timeSize: 8) + (footer.map { Array("\n\($0)\n".utf8) } ?? [])
        }

        private func block(timeSize: Int) -> [UInt8] {
            var bytes = header(times: changes.count, types: types.count, leaps: leapSeconds)
            for change in changes { bytes += bigEndian(change.start).suffix(timeSize) }
            bytes += changes.map(\.type)
            for offset in types { bytes += bigEndian(Int64(offset)).suffix(4) + [0, 0] }
            bytes += Array("LMT\0".utf8)
            return bytes + [UInt8](repeating: 0, count: leapSeconds * (timeSize + 4))
        }

        private func header(times: Int, types: Int, leaps: Int) -> [UInt8] {
            let counts = [0, 0, leaps, times, types, 4].flatMap { bigEndian(Int64($0)).suffix(4) }
            return Array("TZif".utf8) + [version] + [UInt8](repeating: 0, count: 15) + counts
        }

        private func bigEndian(_ value: Int64) -> [UInt8] {
            (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) }
        }
    }

    private func table(_ source: Source) throws -> OffsetTable {
        TimeZoneRules(identifier: "Test", file: try TZifFile(source.bytes)).table
    }

    /// Version 1 has 32 bits and no footer.
    @Test func versionOne() throws {
        let table = try table(Source(version: 0, changes: [(-1_000, 1), (1_000, 0)], types: [600, 3_600]))
        #expect(table.segment(at: -1_001).offset == 600)
        #expect(table.segment(at: 0) == OffsetSegment(start: -1_000, end: 1_000, offset: 3_600, previousOffset: 600))
        #expect(
            table.segment(at: 4_000_000_000)
                == OffsetSegment(start: 1_000, end: .max, offset: 600, previousOffset: 3_600))
    }

    /// An empty footer keeps the last offset; a change of name alone is none.
    @Test func emptyFooter() throws {
        let table = try table(Source(changes: [(1_000, 1), (2_000, 2)], types: [0, 3_600, 3_600]))
        #expect(table.segment(at: 5_000) == OffsetSegment(start: 1_000, end: .max, offset: 3_600, previousOffset: 0))
    }

    /// The footer holds after the last change.
    @Test func footer() throws {
        let table = try table(
            Source(changes: [(1_700_000_000, 1)], types: [0, 3_600], footer: "CET-1CEST,M3.5.0,M10.5.0/3"))
        #expect(table.segment(at: 1_690_000_000).offset == 0)
        #expect(table.segment(at: 1_700_000_000).offset == 3_600)
        #expect(table.segment(at: 1_711_846_799).offset == 3_600)
        #expect(table.segment(at: 1_711_846_800).offset == 7_200)
    }

    /// Daylight time all year.
    @Test func allYear() throws {
        let table = try table(Source(changes: [(0, 1)], types: [0, -14_400], footer: "EST5EDT,0/0,J365/25"))
        for year in 0..<500 { #expect(table.segment(at: 86_400 + Int64(year) * 31_556_952).offset == -14_400) }
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        var name: String
        var bytes: [UInt8]

        init(_ name: String, _ bytes: [UInt8]) {
            self.name = name
            self.bytes = bytes
        }

        init(_ name: String, _ source: Source) { self.init(name, source.bytes) }

        var testDescription: String { name }
    }

    private static let refusals: [Refusal] = [
        Refusal("empty", []),
        Refusal("another kind", Array("#!/bin/sh".utf8)),
        Refusal("only a header", Array(Source().bytes.prefix(30))),
        Refusal("cut in the data", Array(Source(changes: [(0, 0)]).bytes.prefix(110))),
        Refusal("no footer", Source(footer: nil)),
        Refusal("a footer that is none", Source(footer: "Europe/Berlin")),
        Refusal("no types", Source(types: [])),
        Refusal("a type that isn't there", Source(changes: [(0, 5)])),
        Refusal("out of order", Source(changes: [(5, 0), (4, 0)])),
        Refusal("an impossible offset", Source(types: [1_000_000])),
        Refusal("leap seconds", Source(leapSeconds: 1)),
        Refusal("absurd counts", Source().bytes.prefix(32) + [0x7F, 0xFF, 0xFF, 0xFF] + Source().bytes.dropFirst(36)),
    ]

    /// Files that are refused.
    @Test(arguments: refusals)
    func refused(_ refusal: Refusal) {
        #expect(throws: TZifFile.Problem.self) { try TZifFile(refusal.bytes) }
    }

    /// Every prefix of a real file is refused, none of them crashes.
    @Test func prefixes() throws {
        let bytes = Source(
            changes: [(0, 1), (10, 0)], types: [0, 3_600], footer: "<+01>-1<+02>,J60/-1:30,300/167"
        ).bytes
        _ = try TZifFile(bytes)
        for length in bytes.indices {
            #expect(throws: TZifFile.Problem.self) { try TZifFile(Array(bytes.prefix(length))) }
        }
    }

    @Test(
        "Rules",
        arguments: [
            ("CET-1CEST,M3.5.0,M10.5.0/3", 2026, [Int64(1_774_746_000), 1_792_890_000]),
            ("EST5EDT", 2026, [1_772_953_200, 1_793_512_800]),
            ("IST-2IDT,M3.4.4/26,M10.5.0", 2026, [1_774_569_600, 1_792_882_800]),
            ("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, [1_774_746_000, 1_792_890_000]),
            ("XXX0YYY,J60/0,59/0", 2024, [1_709_161_200, 1_709_251_200]),
            ("XXX3", 2026, [Int64]()),
        ] as [(String, Int, [Int64])])
    func rules(text: String, year: Int, instants: [Int64]) throws {
        let rule = try #require(POSIXTimeZone(text))
        #expect(rule.changes(in: year).map(\.start).sorted() == instants.sorted())
    }

    @Test(
        "Texts that are no rules",
        arguments: [
            "", "CET", "CE-1", "CET-25", "CET-1CEST,", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "<CET-1",
            "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,J0,J300", "CET-1CEST,M3.5.0/168,M10.5.0", "CET--1", "CET-1:60",
        ])
    func noRules(text: String) {
        #expect(POSIXTimeZone(text) == nil)
    }
}
