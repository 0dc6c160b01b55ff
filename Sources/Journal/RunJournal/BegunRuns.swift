import AgentModel
internal import CCallTrace
import DequeModule
import Files
import Foundation
import Threads

/// Which runs have begun and whose end isn't in the journal yet: runs are written down ahead of their turn, so that
/// many share a sync of the disk, and one that had not begun when the process was killed is no run that was cut off.
///
/// A file of the host's memory (tmpfs) and not one of the state directory: a run begins without a sync, and a disk that
/// is lost and comes back has forgotten what wasn't synced. It is bound to the session that `calls.trace` names, so
/// that what an earlier process left in another container's memory is never believed. Where there is no such memory,
/// or it is full, nothing is said of which runs began.
final class BegunRuns: Sendable {
    private let path: String
    private let descriptor: Int32
    /// Device and inode. Plugin code may close the descriptor, and another file may be open under its number then.
    private let identity: FileIdentity?
    private let entries: BlockingLock<Entries>

    /// Which entry of the file each run has.
    private struct Entries {
        var taken: [String: Int] = [:]
        /// The longest free comes first: what stands in an entry says until then that a run began, in case that the
        /// journal loses the end that it had taken.
        var free = Deque(0..<BegunRuns.limit)
        /// Runs whose start is not in the journal.
        var unwritten: Set<String> = []
        var isValid = true
    }

    /// More than run and are written down at the same time.
    private static let limit = 2048
    /// Bytes. Divides a page, so that an entry is written as a whole.
    private static let entrySize = 64
    /// Entries that the head takes.
    private static let headEntries = 2
    private static let magic = "RBBEGUN1"
    /// In front of a run whose start is not in the journal.
    private static let unwrittenMark = "~"
    /// shm_overview(7).
    private static let folder = "/dev/shm"

    /// - Throws: `journal.disk_full`, `journal.read_only`, `journal.io`: the host has no such memory for this process.
    init(session: String, bootID: String) throws(RunJournalError) {
        path = Self.path(session)
        entries = BlockingLock(Entries())
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        identity = FileIdentity(ofDescriptor: descriptor)
        let head = Self.head(session: session, bootID: bootID)
        var problem: RunJournalError?
        if rb_is_in_memory(descriptor) == 0 {
            problem = .io(path: path, problem: "it is not in memory (tmpfs)")
        } else if pwrite(descriptor, head, head.count, 0) != head.count {
            problem = .system("pwrite", path: path)
        }
        if let problem {
            unlink(path)
            throw problem
        }
    }

    deinit { if isOpen { close(descriptor) } }

    /// A run begins now. Returns when the kernel has it: the process may be killed at the next instruction.
    func begin(_ run: String) {
        entries.withLock { entries in
            guard entries.isValid else { return }
            let name = entries.unwritten.contains(run) ? Self.unwrittenMark + run : run
            guard let entry = entries.free.popFirst(), write(name, at: entry) else {
                // A list that lacks one is worse than none.
                entries.isValid = false
                unlink(path)
                return
            }
            entries.taken[run] = entry
        }
    }

    private func write(_ run: String, at entry: Int) -> Bool {
        guard isOpen else { return false }
        let bytes = Self.field(run, size: Self.entrySize)
        return pwrite(descriptor, bytes, bytes.count, (Self.headEntries + entry) * Self.entrySize) == bytes.count
    }

    /// The start of a run that is about to begin is not in the journal.
    func startsUnwritten(_ run: String) { entries.withLock { _ = $0.unwritten.insert(run) } }

    /// The end of a run is in the journal.
    func settle(_ run: String) {
        entries.withLock { entries in
            // Nothing but this says that it was cut off.
            if entries.unwritten.remove(run) != nil, let entry = entries.taken[run], entries.isValid {
                _ = write("", at: entry)
            }
            guard let entry = entries.taken.removeValue(forKey: run) else { return }
            entries.free.append(entry)
        }
    }

    func remove() {
        entries.withLock { $0.isValid = false }
        unlink(path)
    }

    /// The runs of an earlier process that had begun, and whose end it had not written down.
    struct Names {
        var written: Set<String> = []
        /// Those whose start isn't in the journal.
        var unwritten: Set<String> = []
    }

    /// The runs in the file of an earlier process; nil where there is none to be believed.
    static func read(session: String, bootID: String) -> Names? {
        guard isName(session) else { return nil }
        let descriptor = open(path(session), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        // Everybody may make a file there.
        guard fstat(descriptor, &status) == 0, status.st_uid == geteuid(), rb_is_in_memory(descriptor) != 0 else {
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: (headEntries + limit) * entrySize)
        let length = pread(descriptor, &bytes, bytes.count, 0)
        let head = head(session: session, bootID: bootID)
        guard length >= head.count, Array(bytes[..<head.count]) == head else { return nil }
        let runs = stride(from: head.count, to: bytes.count, by: entrySize).map { start in
            String(decoding: bytes[start..<start + entrySize].prefix { $0 != 0 }, as: UTF8.self)
        }
        let unwritten = runs.filter { $0.hasPrefix(unwrittenMark) }.map { String($0.dropFirst(unwrittenMark.count)) }
        return Names(
            written: Set(runs.filter { !$0.isEmpty && !$0.hasPrefix(unwrittenMark) }), unwritten: Set(unwritten))
    }

    static func remove(session: String) {
        if isName(session) { unlink(path(session)) }
    }

    static func path(_ session: String) -> String { "\(folder)/runbook-agent-\(session)" }

    private static func isName(_ session: String) -> Bool {
        !session.isEmpty && session.utf8.allSatisfy { $0 != UInt8(ascii: "/") }
    }

    private static func head(session: String, bootID: String) -> [UInt8] {
        field("\(magic) \(session) \(bootID)", size: headEntries * entrySize)
    }

    private static func field(_ text: String, size: Int) -> [UInt8] {
        let bytes = Array(text.utf8.prefix(size))
        return bytes + [UInt8](repeating: 0, count: size - bytes.count)
    }

    /// Whether the descriptor is still this file's: a plugin of this process may have closed it.
    private var isOpen: Bool { identity != nil && FileIdentity(ofDescriptor: descriptor) == identity }
}
