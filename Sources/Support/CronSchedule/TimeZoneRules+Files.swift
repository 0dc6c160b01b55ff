import Foundation

extension TimeZoneRules {
    /// The largest of the tz database's files has some 4 KiB.
    private static let largestFile = 1 << 20

    /// A zone of the tz database (TZif files, RFC 9636), from the folder in `TZDIR` or `/usr/share/zoneinfo`.
    ///
    /// Names are those of the database, case included. `UTC` and `Etc/UTC` need no files.
    /// - Throws: `CronScheduleError.unknownTimeZone` (`schedule.unknown_time_zone`), also for a name that leads out of
    ///   the folder; `CronScheduleError.invalidTimeZoneFile` (`schedule.invalid_time_zone_file`).
    public static func named(_ identifier: String) throws(CronScheduleError) -> TimeZoneRules {
        try named(identifier, environment: ProcessInfo.processInfo.environment)
    }

    /// The host's zone: of the variable `TZ`, or of `/etc/localtime`, or UTC where neither says anything usable.
    ///
    /// `TZ` may hold a name, an absolute path, or a POSIX rule such as `CET-1CEST,M3.5.0,M10.5.0/3`; empty means UTC
    /// (tzset(3)).
    public static func local() -> TimeZoneRules {
        local(environment: ProcessInfo.processInfo.environment, localtime: "/etc/localtime")
    }

    static func named(
        _ identifier: String, environment: [String: String]
    ) throws(CronScheduleError) -> TimeZoneRules {
        if identifier == "UTC" || identifier == "Etc/UTC" {
            return TimeZoneRules(identifier: identifier, table: utc.table)
        }
        guard isPlainName(identifier) else {
            throw .unknownTimeZone(identifier: identifier, problem: "it is not a name of the tz database")
        }
        let folder = environment["TZDIR"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "/usr/share/zoneinfo"
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
            throw .unknownTimeZone(
                identifier: identifier, problem: "the folder \(folder) isn't there; install the package tzdata")
        }
        guard FileManager.default.fileExists(atPath: "\(folder)/\(identifier)", isDirectory: &isFolder),
            !isFolder.boolValue
        else {
            throw .unknownTimeZone(identifier: identifier, problem: "there is no such file in \(folder)")
        }
        return try read("\(folder)/\(identifier)", identifier: identifier)
    }

    static func local(environment: [String: String], localtime: String) -> TimeZoneRules {
        if var text = environment["TZ"] {
            if text.hasPrefix(":") { text.removeFirst() }
            if text.isEmpty { return utc }
            if text.hasPrefix("/") { return (try? read(text, identifier: name(ofPath: text) ?? text)) ?? utc }
            if let zone = try? named(text, environment: environment) { return zone }
            guard let rule = POSIXTimeZone(text) else { return utc }
            return TimeZoneRules(
                identifier: text, table: OffsetTable(initial: rule.standard, changes: [], rule: rule))
        }
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: localtime)
        return (try? read(localtime, identifier: target.flatMap(name(ofPath:)) ?? "localtime")) ?? utc
    }

    /// `Europe/Berlin` of `/usr/share/zoneinfo/Europe/Berlin`.
    private static func name(ofPath path: String) -> String? {
        path.range(of: "/zoneinfo/").map { String(path[$0.upperBound...]) }
    }

    /// Parts of letters, digits and `_ + - .` with single slashes between, none of which begins with a dot.
    private static func isPlainName(_ identifier: String) -> Bool {
        guard (1...255).contains(identifier.utf8.count) else { return false }
        return identifier.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy {
            part in
            guard let first = part.first, first != UInt8(ascii: ".") else { return false }
            return part.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "_+-.".utf8.contains(byte)
            }
        }
    }

    private static func read(_ path: String, identifier: String) throws(CronScheduleError) -> TimeZoneRules {
        let data: Data
        do {
            let attributes = try FileManager.default.attributesOfItem(
                atPath: URL(filePath: path).resolvingSymlinksInPath().path)
            // Reading a pipe would wait for its writer.
            guard attributes[.type] as? FileAttributeType == .typeRegular,
                let size = attributes[.size] as? Int, size <= largestFile
            else {
                throw TZifFile.Problem("it is not a file of at most \(largestFile) bytes")
            }
            data = try Data(contentsOf: URL(filePath: path))
        } catch let problem as TZifFile.Problem {
            throw .invalidTimeZoneFile(identifier: identifier, problem: problem.sentence)
        } catch {
            throw .invalidTimeZoneFile(identifier: identifier, problem: "it can't be read (\(path))")
        }
        do {
            return TimeZoneRules(identifier: identifier, file: try TZifFile(Array(data)))
        } catch {
            throw .invalidTimeZoneFile(identifier: identifier, problem: error.sentence)
        }
    }
}
