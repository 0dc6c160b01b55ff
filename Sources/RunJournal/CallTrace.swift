import AgentModel
internal import CCallTrace
import DequeModule
import Foundation

/// Says which thread is inside which plugin's code, whether one of these threads ended the process, and which runs
/// have begun at all: runs are written down ahead of their turn, so that many share a sync of the disk, and one that
/// had not begun when the process was killed is no run that was cut off.
///
/// A file in the state directory that is mapped and written without syncs: it survives the end of the process,
/// however that comes, and nothing else. After a power cut it says nothing (the host's boot id is another), and what
/// ran is `interrupted`. The journal itself can't say it: a signal handler may not write to a database.
public final class CallTrace: Sendable {
    /// Because the mapping stays for the life of the process, and C guards what changes in it.
    private nonisolated(unsafe) let trace: OpaquePointer
    /// Names this process among those that wrote a trace here.
    let session: String
    private let begun = BlockingLock(Begun())

    /// Which entry of the trace each run has that began and whose end isn't in the journal yet.
    private struct Begun {
        var entries: [String: Int32] = [:]
        /// The longest free comes first: what stands in an entry says until then that a run began, in case that the
        /// journal loses the end that it had taken.
        var free = Deque(0..<RB_TRACE_RUNS)
    }

    /// - Throws: `journal.disk_full`, `journal.read_only`, `journal.io`.
    init(directory: String) throws(RunJournalError) {
        let path = Self.path(in: directory)
        session = RunID().rawValue
        // Under a new name first: a thread of this process may still be inside of an earlier one.
        guard let trace = rb_trace_create(path + ".new", Self.bootID, session) else {
            let error = RunJournalError.system("fallocate", path: path)
            // The last process's must not be taken for this one's.
            unlink(path)
            throw error
        }
        guard rename(path + ".new", path) == 0 else {
            let error = RunJournalError.system("rename", path: path)
            unlink(path)
            throw error
        }
        self.trace = trace
    }

    /// From now on a fatal signal is noted in the trace before the handlers that were there take it. Once a process;
    /// before the interpreter starts, so that what a plugin installs (`faulthandler`) comes first and hands it on.
    public func watchSignals() { rb_trace_watch_signals() }

    /// The calling thread is about to run code of a plugin.
    ///
    /// - Parameters:
    ///   - run: nil where it isn't a run's: loading, shutting down.
    ///   - scriptHash: the SHA-512 of the script, hex.
    public func enter(run: String?, plugin: String, scriptHash: String) {
        if let run {
            let entry = begun.withLock { begun in
                let entry = begun.free.popFirst()
                begun.entries[run] = entry
                return entry
            }
            rb_trace_begin(trace, entry ?? -1, run)
        }
        // Where all slots are taken the code runs without a trace, and its end would be an interruption.
        _ = rb_trace_enter(trace, run ?? "", plugin, scriptHash)
    }

    /// The calling thread is back.
    public func leave() { rb_trace_leave() }

    /// The end of a run is in the journal.
    func settle(_ runID: RunID) {
        begun.withLock { begun in
            guard let entry = begun.entries.removeValue(forKey: runID.rawValue) else { return }
            begun.free.append(entry)
        }
    }

    /// The runs that had begun when the last process on this state directory ended, and whose end it had not written
    /// down. Nil where nothing can be said of that: after a power cut, or where it kept no trace.
    static func begunRuns(directory: String) -> Set<String>? {
        var count: Int32 = 0
        guard !bootID.isEmpty, let runs = rb_trace_begun(path(in: directory), bootID, &count) else { return nil }
        defer { free(runs) }
        return Set((0..<Int(count)).map { text(of: runs[$0]) })
    }

    /// How the last process on this state directory ended, where plugin code ended it.
    static func lastDeath(directory: String) -> ProcessDeath? {
        var end = rb_trace_end()
        guard !bootID.isEmpty, rb_trace_read(path(in: directory), bootID, &end) != 0 else { return nil }
        let run = text(of: end.run)
        return ProcessDeath(
            session: text(of: end.session), runID: run.isEmpty ? nil : RunID(stored: run),
            pluginID: text(of: end.plugin), scriptHash: text(of: end.hash),
            cause: end.cause == UInt32(RB_CAUSE_SIGNAL)
                ? .signal(end.number) : .exit(status: end.number < 0 ? nil : end.number))
    }

    private static func path(in directory: String) -> String { directory + "/calls.trace" }

    /// random(4).
    private static let bootID =
        ((try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? "")
        .trimmingCharacters(in: .whitespacesAndNewlines)

    private static func text<Characters>(of characters: Characters) -> String {
        withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// How plugin code ended the agent's process.
public struct ProcessDeath: Sendable, Equatable {
    public enum Cause: Sendable, Equatable {
        case signal(Int32)
        /// `os._exit`, or exit(3) in C code, where the status isn't known.
        case exit(status: Int32?)
    }

    var session: String
    /// Nil where the plugin was being loaded or shut down.
    public var runID: RunID?
    public var pluginID: String
    public var scriptHash: String
    public var cause: Cause

    /// Such as `by the signal SIGSEGV`.
    public var sentence: String {
        switch cause {
        case .signal(let number): "by the signal \(Self.name(of: number))"
        case .exit(nil): "by ending it with exit()"
        case .exit(let status?): "by ending it with the exit status \(status)"
        }
    }

    private static func name(of signal: Int32) -> String {
        switch signal {
        case SIGSEGV: "SIGSEGV"
        case SIGBUS: "SIGBUS"
        case SIGFPE: "SIGFPE"
        case SIGILL: "SIGILL"
        case SIGABRT: "SIGABRT"
        default: "\(signal)"
        }
    }
}
