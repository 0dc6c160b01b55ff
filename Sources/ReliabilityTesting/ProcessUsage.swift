public import Foundation

/// What a process holds at a moment (proc(5)).
public struct ProcessUsage: Sendable {
    /// Resident memory, in bytes.
    public var residentBytes: Int
    public var threads: Int
    public var descriptors: Int

    /// Nil where there is no such process.
    public init?(of processID: pid_t) {
        guard let status = try? String(contentsOfFile: "/proc/\(processID)/status", encoding: .utf8),
            let descriptors = try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(processID)/fd")
        else { return nil }
        func value(_ name: String) -> Int? {
            status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
                .flatMap { Int($0.split(whereSeparator: { " \t".contains($0) })[1]) }
        }
        guard let resident = value("VmRSS"), let threads = value("Threads") else { return nil }
        residentBytes = resident << 10
        self.threads = threads
        self.descriptors = descriptors.count
    }
}
