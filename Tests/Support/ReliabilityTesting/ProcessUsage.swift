public import Foundation

/// What a process holds at a moment (proc(5)).
public struct ProcessUsage: Sendable {
    /// Resident memory, in bytes.
    public var residentBytes: Int
    /// Without those of Dispatch's pool, which makes more and ends them as it likes.
    public var threads: Int
    public var poolThreads: Int
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
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(processID)/task")) ?? []
        let names = tasks.compactMap {
            try? String(contentsOfFile: "/proc/\(processID)/task/\($0)/comm", encoding: .utf8)
        }
        guard let resident = value("VmRSS"), !names.isEmpty else { return nil }
        residentBytes = resident << 10
        // The end of `com.apple.root.default-qos` and its kin, as libdispatch names them.
        poolThreads = names.count { $0.contains("-qos") }
        threads = names.count - poolThreads
        self.descriptors = descriptors.count
    }
}
