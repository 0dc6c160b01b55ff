import Foundation
import Glibc
import PythonEmbedding

/// What one thread of this process has done so far.
struct ThreadSample {
    /// Nanoseconds on a processor.
    var processorTime: UInt64 = 0
    /// How often it was given a processor (proc(5), `schedstat`).
    var turns: UInt64 = 0
    var name = ""

    /// Whether it may run Python: what Python and plugins start has the name of the thread that started it, where it
    /// didn't get one of its own.
    var isPython = false

    /// All threads of this process.
    static func all() -> [Int32: ThreadSample] {
        guard let folder = opendir("/proc/self/task") else { return [:] }
        defer { closedir(folder) }
        let owners = PluginThreads.all()
        var samples: [Int32: ThreadSample] = [:]
        while let entry = readdir(folder) {
            let text = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let thread = Int32(text), let time = processorTime(of: thread) else { continue }
            var sample = ThreadSample(processorTime: time)
            sample.name = contents("/proc/self/task/\(thread)/comm")?.trimmingCharacters(in: .newlines) ?? ""
            sample.turns =
                contents("/proc/self/task/\(thread)/schedstat")?.split(whereSeparator: \.isWhitespace).last
                .flatMap { UInt64($0) } ?? 0
            sample.isPython =
                owners[thread] != nil || sample.name.hasPrefix("python-") && sample.name != "python-control"
            samples[thread] = sample
        }
        return samples
    }

    /// Of a thread of this process, in nanoseconds; nil where it has ended.
    static func processorTime(of thread: Int32) -> UInt64? {
        guard thread > 0 else { return nil }
        // The kernel's number of the clock of a thread (clock_gettime(2), pthread_getcpuclockid(3)).
        return time(of: clockid_t(~thread) << 3 | 6)
    }

    /// Of a whole process, all its threads together; nil where it has ended.
    static func processorTime(ofProcess process: Int32) -> UInt64? {
        guard process > 0 else { return nil }
        // As with a thread's (clock_getcpuclockid(3)).
        return time(of: clockid_t(~process) << 3 | 2)
    }

    private static func time(of clock: clockid_t) -> UInt64? {
        var time = timespec()
        guard clock_gettime(clock, &time) == 0 else { return nil }
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func contents(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes.prefix(count), as: UTF8.self) : nil
    }
}
