import AgentModel
public import Diagnostics
import Foundation
import GRDB

/// What can go wrong with the journal. No value of a run is ever part of it.
public enum RunJournalError: CodedError, Equatable {
    /// Another agent holds the state directory. The process id is nil where it lives in another container.
    case locked(directory: String, processID: Int32?)
    /// There is no journal to read: no agent has run on this state directory.
    case missing(directory: String)
    case diskFull(path: String)
    case readOnly(path: String)
    /// The database was found damaged while it was open. Opening it anew sets it aside and recovers it.
    case corrupt(path: String, problem: String)
    /// It was written by a newer agent, whose tables this one doesn't know.
    case newer(path: String)
    /// The database was deleted, moved or replaced while it was open.
    case removed(path: String)
    case io(path: String, problem: String)
    /// The journal was closed before this was asked of it.
    case closed
    /// No run has this id.
    case unknownRun(RunID)
    /// The run is known and its result isn't in the outbox; `state` ends the sentence "it …".
    case notInOutbox(RunID, state: String)

    public var code: String {
        switch self {
        case .locked: "journal.locked"
        case .missing: "journal.missing"
        case .diskFull: "journal.disk_full"
        case .readOnly: "journal.read_only"
        case .corrupt: "journal.corrupt"
        case .newer: "journal.newer"
        case .removed: "journal.removed"
        case .io: "journal.io"
        case .closed: "journal.closed"
        case .unknownRun: "journal.unknown_run"
        case .notInOutbox: "journal.not_in_outbox"
        }
    }

    public var message: String {
        switch self {
        case .locked(let directory, let processID):
            "the state directory \(quoted(directory)) is in use by another agent"
                + (processID.map { ", process \($0)" } ?? "")
                + "; stop that one first, or give this one another state_directory"
        case .missing(let directory):
            "there is no journal in the state directory \(quoted(directory)); check state_directory, or start the "
                + "agent once"
        case .diskFull(let path):
            "the disk is full and the journal \(quoted(path)) can't be written; free some space, the agent continues by itself"
        case .readOnly(let path):
            "the journal \(quoted(path)) cannot be written; check the owner and mode of the file and its folder, and "
                + "that the disk is not mounted read-only"
        case .corrupt(let path, let problem):
            "the journal \(quoted(path)) is damaged (\(problem)); restart the agent, which sets it aside and "
                + "recovers what can be read"
        case .newer(let path):
            "the journal \(quoted(path)) was written by a newer version of the agent; install that version or give "
                + "this one another state_directory"
        case .removed(let path):
            "the journal \(quoted(path)) was deleted, moved or replaced under the running agent, which starts no run any "
                + "more; restart the agent"
        case .io(let path, let problem):
            "the journal \(quoted(path)) could not be used: \(problem); check the disk and the folder"
        case .closed: "the journal is closed, because the agent is stopping"
        case .unknownRun(let id): "there is no run \(quoted(id.rawValue)) in the journal; see the history for ids"
        case .notInOutbox(let id, let state):
            "the result of the run \(quoted(id.rawValue)) is not in the outbox: it \(state); nothing was changed"
        }
    }

    /// Whether the database is damaged or gone: the same would be said to every further attempt until the journal is
    /// opened anew.
    public var isLoss: Bool {
        switch self {
        case .corrupt, .removed: true
        default: false
        }
    }

    /// An error of SQLite or of the system in the journal's own words.
    init(_ error: any Error, path: String) {
        switch error {
        case let error as RunJournalError: self = error
        case let error as DatabaseError:
            // SQLite's own sentence names tables and never holds a value.
            let problem = error.message ?? "\(error.resultCode)"
            switch error.resultCode {
            case .SQLITE_FULL: self = .diskFull(path: path)
            case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH: self = .readOnly(path: path)
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: self = .corrupt(path: path, problem: problem)
            default: self = .io(path: path, problem: "\(problem) (SQLite \(error.extendedResultCode.rawValue))")
            }
        default: self = .io(path: path, problem: "\(error)")
        }
    }

    /// The error that `errno` stands for after a system call that only wanted to read.
    static func unreadable(_ call: String, path: String) -> RunJournalError {
        .io(path: path, problem: "\(call): \(String(cString: strerror(errno)))")
    }

    /// The error that `errno` stands for after a failed system call.
    static func system(_ call: String, path: String) -> RunJournalError {
        let number = errno
        switch number {
        case ENOSPC, EDQUOT: return .diskFull(path: path)
        case EROFS, EACCES, EPERM: return .readOnly(path: path)
        default: return .io(path: path, problem: "\(call): \(String(cString: strerror(number)))")
        }
    }
}
