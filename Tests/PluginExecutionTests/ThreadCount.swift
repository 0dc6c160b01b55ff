import Foundation

/// How many threads of this process are the executor's: its workers and its watchdog.
func threadCount() throws -> Int {
    try threadNames().count { $0 == "watchdog" || $0.wholeMatch(of: /python-\d+/) != nil }
}

/// How many threads of this process are a sandbox executor's.
func sandboxThreadCount() throws -> Int {
    try threadNames().count { $0.hasPrefix("sandbox-") }
}

/// How many descriptors this process has open.
func descriptorCount() throws -> Int {
    let folder = "/proc/self/fd"
    return try FileManager.default.contentsOfDirectory(atPath: folder).count { name in
        // Timers are those of libdispatch: one for each clock that somebody has slept by, kept from then on.
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(name)")) != "anon_inode:[timerfd]"
    }
}

private func threadNames() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").map { task in
        // It may have ended meanwhile.
        let name = try? String(contentsOfFile: "/proc/self/task/\(task)/comm", encoding: .utf8)
        return name.map { String($0.dropLast()) } ?? ""
    }
}
