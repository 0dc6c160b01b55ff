import AgentModel
internal import CCallTrace
import Foundation

/// Says which thread is inside which plugin's code, whether one of these threads ended the process, and which runs
/// have begun at all (``BegunRuns``).
///
/// `calls.trace` in the state directory has this process's session, synced, and at the end of the process who ended
/// it, where plugin code did. That is written without a sync: it survives the end of the process, however that comes,
/// and nothing else. After a power cut it says nothing (the host's boot id is another), and what ran is `interrupted`.
/// The journal itself can't say it: a signal handler may not write to a database.
public final class CallTrace: Sendable {
    /// Because C guards what changes in it, and never frees it.
    private nonisolated(unsafe) let trace: OpaquePointer
    /// Names this process among those that wrote a trace here.
    let session: String
    private let begun: BegunRuns?
    /// Why the next agent will not know which runs had begun.
    let begunError: RunJournalError?

    /// - Throws: `journal.disk_full`, `journal.read_only`, `journal.io`.
    init(directory: String) throws(RunJournalError) {
        let path = Self.path(in: directory)
        session = RunID().rawValue
        var begunError: RunJournalError?
        do throws(RunJournalError) {
            begun = try BegunRuns(session: session, bootID: Self.bootID)
        } catch {
            begun = nil
            begunError = error
        }
        self.begunError = begunError
        do throws(RunJournalError) {
            guard let trace = rb_trace_create(path + ".new", Self.bootID, session) else {
                throw RunJournalError.system("open", path: path)
            }
            self.trace = trace
            try Self.replace(path, in: directory)
        } catch {
            begun?.remove()
            // The last process's must not be taken for this one's.
            unlink(path)
            throw error
        }
    }

    deinit { rb_trace_close(trace) }

    /// Synced, or a file system that is lost and comes back could bring back the session of an earlier process.
    private static func replace(_ path: String, in directory: String) throws(RunJournalError) {
        guard rename(path + ".new", path) == 0 else { throw .system("rename", path: path) }
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: directory) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system("fsync", path: directory) }
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
        if let run { begun?.begin(run) }
        rb_trace_enter(trace, run ?? "", plugin, scriptHash)
    }

    /// The calling thread is back.
    public func leave() { rb_trace_leave() }

    /// A run begins whose start is not in the journal.
    func startsUnwritten(_ runID: RunID) { begun?.startsUnwritten(runID.rawValue) }

    /// The end of a run is in the journal.
    func settle(_ runID: RunID) { begun?.settle(runID.rawValue) }

    /// The end of every run is in the journal, and none begins any more.
    func forgetBegunRuns() { begun?.remove() }

    /// What the last process on a state directory left behind. Nil after a power cut, or where it kept no trace.
    static func last(directory: String) -> Last? {
        var end = rb_trace_end()
        guard !bootID.isEmpty, rb_trace_read(path(in: directory), bootID, &end) != 0 else { return nil }
        let session = text(of: end.session)
        let run = text(of: end.run)
        let death = ProcessDeath(
            session: session, runID: run.isEmpty ? nil : RunID(stored: run), pluginID: text(of: end.plugin),
            scriptHash: text(of: end.hash),
            cause: end.cause == UInt32(RB_CAUSE_SIGNAL)
                ? .signal(end.number) : .exit(status: end.number < 0 ? nil : end.number))
        return Last(session: session, death: end.cause == UInt32(RB_CAUSE_NONE) ? nil : death)
    }

    /// What is left of an earlier process.
    struct Last {
        let session: String
        /// How the process ended, where plugin code ended it.
        let death: ProcessDeath?

        /// The runs that had begun when the process ended, and whose end it had not written down. Nil where nothing
        /// can be said of that.
        var begunRuns: BegunRuns.Names? { BegunRuns.read(session: session, bootID: bootID) }

        func forgetBegunRuns() { BegunRuns.remove(session: session) }
    }

    private static func path(in directory: String) -> String { directory + "/calls.trace" }

    /// The host's, of this boot (random(4)). Empty where the host doesn't say.
    public static let bootID =
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
