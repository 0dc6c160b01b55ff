import Foundation
import Testing
import Threads

@testable import CronSchedule

/// Time zones.
@Suite struct TimeZoneRulesTests {
    struct Offset: Sendable, CustomTestStringConvertible {
        var zone: String
        var instant: String
        var seconds: Int

        init(_ zone: String, _ instant: String, _ seconds: Int) {
            self.zone = zone
            self.instant = instant
            self.seconds = seconds
        }

        var testDescription: String { "\(zone) at \(instant)" }
    }

    @Test(
        "Offsets, of the table and of the footer",
        arguments: [
            Offset("Europe/Berlin", "1880-01-01T00:00:00Z", 3_208),
            Offset("Europe/Berlin", "1900-01-01T00:00:00Z", 3_600),
            Offset("Europe/Berlin", "1945-06-01T00:00:00Z", 10_800),
            Offset("Europe/Berlin", "2026-03-29T00:59:59Z", 3_600),
            Offset("Europe/Berlin", "2026-03-29T01:00:00Z", 7_200),
            Offset("Europe/Berlin", "2060-03-28T00:59:59Z", 3_600),
            Offset("Europe/Berlin", "2060-03-28T01:00:00Z", 7_200),
            Offset("Europe/Berlin", "2060-10-31T00:59:59Z", 7_200),
            Offset("Europe/Berlin", "2060-10-31T01:00:00Z", 3_600),
            Offset("America/New_York", "2060-03-14T06:59:59Z", -18_000),
            Offset("America/New_York", "2060-03-14T07:00:00Z", -14_400),
            Offset("Australia/Lord_Howe", "2060-01-01T00:00:00Z", 39_600),
            Offset("Australia/Lord_Howe", "2060-07-01T00:00:00Z", 37_800),
            Offset("Asia/Kolkata", "2060-07-01T00:00:00Z", 19_800),
            Offset("Europe/Berlin", "2860-07-01T00:00:00Z", 7_200),
            Offset("Europe/Berlin", "9860-12-01T00:00:00Z", 3_600),
            Offset("UTC", "2060-07-01T00:00:00Z", 0),
        ])
    func offset(_ example: Offset) throws {
        let instant = try Date(example.instant, strategy: .iso8601)
        let zone = try TimeZoneRules.named(example.zone)
        #expect(zone.offset(at: Int64(instant.timeIntervalSince1970)) == example.seconds)
        #expect(zone.identifier == example.zone)
    }

    /// A schedule in 2060 follows the footer's rule.
    @Test func footerSchedule() throws {
        let berlin = try TimeZoneRules.named("Europe/Berlin")
        #expect(
            try fireTimes("30 2 * * *", after: "2060-03-27T12:00:00Z", in: berlin, count: 2)
                == ["2060-03-28T03:00:00+02:00", "2060-03-29T02:30:00+02:00"])
        #expect(
            try fireTimes("30 2 31 10 *", after: "2060-03-27T12:00:00Z", in: berlin, count: 1)
                == ["2060-10-31T02:30:00+02:00"])
    }

    /// Segments join without a hole, also where the cycle of 400 years begins anew.
    @Test func segments() throws {
        for name in ["Europe/Berlin", "America/Santiago", "Africa/Casablanca", "Asia/Tokyo"] {
            let table = try TimeZoneRules.named(name).table
            var segment = table.segment(at: -5_000_000_000)
            while segment.end < 40_000_000_000 {
                let next = table.segment(at: segment.end)
                try #require(next.start == segment.end, "\(name)")
                #expect(next.previousOffset == segment.offset, "\(name) at \(segment.end)")
                #expect(table.segment(at: segment.end - 1) == segment, "\(name) at \(segment.end)")
                segment = next
            }
        }
    }

    @Test(
        "Names that are none",
        arguments: [
            "", ".", "..", "../../etc/passwd", "/etc/localtime", "Europe/../Europe/Berlin", "Europe//Berlin", "Europe/",
            "./UTC", "Mars/Phobos", "Europe", "europe/berlin", "Europe/Berlin\u{0}", "Zürich", "a b",
            String(repeating: "a", count: 300),
        ])
    func unknown(name: String) throws {
        let error = try #require(throws: CronScheduleError.self) { try TimeZoneRules.named(name) }
        #expect(error.code == "schedule.unknown_time_zone")
        #expect(error.message.contains("Europe/Berlin"))
    }

    /// A file of the folder that is no zone.
    @Test func notAZone() throws {
        try withFolder { folder in
            let environment = ["TZDIR": folder]
            try Data("nothing".utf8).write(to: URL(filePath: "\(folder)/Broken"))
            let error = try #require(throws: CronScheduleError.self) {
                try TimeZoneRules.named("Broken", environment: environment)
            }
            #expect(error.code == "schedule.invalid_time_zone_file")
            #expect(throws: CronScheduleError.self) {
                try TimeZoneRules.named("Europe/Berlin", environment: environment)
            }
            #expect(try TimeZoneRules.named("UTC", environment: environment).offset(at: 0) == 0)
            #expect(throws: CronScheduleError.self) {
                try TimeZoneRules.named("Asia/Tokyo", environment: ["TZDIR": "\(folder)/missing"])
            }
        }
    }

    /// TZDIR comes before the system's folder.
    @Test func folderVariable() throws {
        try withFolder { folder in
            try Data(contentsOf: URL(filePath: "/usr/share/zoneinfo/Asia/Tokyo"))
                .write(to: URL(filePath: "\(folder)/Here"))
            #expect(try TimeZoneRules.named("Here", environment: ["TZDIR": folder]).offset(at: 0) == 32_400)
        }
    }

    /// The host's zone.
    @Test func local() throws {
        try withFolder { folder in
            let localtime = "\(folder)/localtime"
            func zone(_ variable: String?) -> TimeZoneRules {
                TimeZoneRules.local(environment: variable.map { ["TZ": $0] } ?? [:], localtime: localtime)
            }
            #expect(zone(nil).identifier == "UTC")

            try FileManager.default.createSymbolicLink(
                atPath: localtime, withDestinationPath: "/usr/share/zoneinfo/Asia/Tokyo")
            #expect(zone(nil).identifier == "Asia/Tokyo")
            #expect(zone(nil).offset(at: 0) == 32_400)
            #expect(zone("Asia/Kolkata").offset(at: 0) == 19_800)
            #expect(zone(":Asia/Kolkata").offset(at: 0) == 19_800)
            #expect(zone("/usr/share/zoneinfo/Asia/Kolkata").identifier == "Asia/Kolkata")
            #expect(zone("").identifier == "UTC")
            #expect(zone("Mars/Phobos").identifier == "UTC")
            #expect(zone("<+0330>-3:30").offset(at: 1_700_000_000) == 12_600)
            #expect(zone("CET-1CEST,M3.5.0,M10.5.0/3").offset(at: 1_750_000_000) == 7_200)
            #expect(zone("CET-1CEST,M3.5.0,M10.5.0/3").offset(at: 1_700_000_000) == 3_600)

            try FileManager.default.removeItem(atPath: localtime)
            try FileManager.default.copyItem(atPath: "/usr/share/zoneinfo/Asia/Tokyo", toPath: localtime)
            #expect(zone(nil).identifier == "localtime")
            #expect(zone(nil).offset(at: 0) == 32_400)
        }
    }

    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "zones-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder.path)
    }
}
