import CPrograms
import PythonEmbedding

/// Ends programs that plugins started in the agent's own process, by the mark that they carry in their environment, and
/// what descends from them.
public enum ProgramEnd {
    /// Between SIGTERM and SIGKILL, in milliseconds.
    private static let grace: Int32 = 500
    private static let limit: Int32 = 5000

    /// Ends those of one run, which starts no more. Doesn't wait for that.
    static func begin(_ programs: RunPrograms) {
        programs.stop()
        let mark = programs.mark
        let work: @Sendable () -> Void = {
            _ = Self.end(mark, isSuffix: false, grace: grace, limit: limit)
        }
        do throws(PythonEmbeddingError) {
            try PythonInterpreter.startPlainThread(name: "programs-end", work)
        } catch {
            // Without a thread there is no grace.
            _ = Self.end(mark, isSuffix: false, grace: 0, limit: 100)
        }
    }

    /// Ends those of all runs that are under way, before the process ends. Waits for that, for a moment.
    static func endAll() {
        for mark in RunPrograms.runningMarks { _ = end(mark, isSuffix: false, grace: 0, limit: 500) }
    }

    /// Ends those that an agent left which was ended in the middle of these runs, and waits for that: seconds where they
    /// ignore SIGTERM.
    ///
    /// - Parameter names: as the runs were called in their invocations.
    public static func endLeft(byRuns names: [String]) async {
        guard !names.isEmpty else { return }
        await withCheckedContinuation { continuation in
            let work: @Sendable () -> Void = {
                let marks = list(beginningWith: "")
                for name in names where marks.contains(where: { $0.hasSuffix(":" + name) }) {
                    _ = Self.end(":" + name, isSuffix: true, grace: grace, limit: limit)
                }
                continuation.resume()
            }
            do throws(PythonEmbeddingError) {
                try PythonInterpreter.startPlainThread(name: "programs-end", work)
            } catch {
                continuation.resume()
            }
        }
    }

    /// The runs, once for each program of theirs that there is, of an agent's own process, in any process: as they were
    /// called in their invocations, or numbers. Milliseconds: it looks at all processes of the host. It sees only those of
    /// this process's user, or all where that is root.
    public static func runs(withProgramsOfAgent process: Int32) -> [String] {
        list(beginningWith: "\(process)-").compactMap { mark in mark.split(separator: ":").last.map(String.init) }
    }

    private static func end(_ mark: String, isSuffix: Bool, grace: Int32, limit: Int32) -> Int {
        mark.withCString { mark in
            var programs = rb_programs(
                mark: mark, is_suffix: isSuffix ? 1 : 0, ancestor: 0, spared: 0, takes_unmarked: 0)
            return rb_end_programs(&programs, grace, limit)
        }
    }

    private static func list(beginningWith prefix: String) -> [String] {
        let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256 << 10) { buffer in
            let length = rb_list_program_marks(prefix, buffer.baseAddress!, buffer.count)
            return String(decoding: UnsafeRawBufferPointer(start: buffer.baseAddress, count: length), as: UTF8.self)
        }
        return text.split(separator: "\n").map(String.init)
    }
}
