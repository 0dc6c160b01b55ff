import AgentModel
import Diagnostics

/// A task list as the agent takes it: what can be run of it, and what is wrong with the rest.
struct CheckedTaskList {
    /// Of which nothing can be reported to the backend, because it has no id of its own.
    struct Complaint: Equatable {
        var message: String
        var code: String
    }

    /// Each with an id of its own.
    private(set) var tasks: [TaskDocument] = []
    /// Tasks that can't be read and have an id.
    private(set) var rejections: [RejectedTask] = []
    private(set) var complaints: [Complaint] = []

    /// The contract: a task with an id that is there already isn't added again. An id must also fit a URL and a row of
    /// the journal.
    init(_ list: TaskList) {
        var seen: Set<TaskID> = []
        for task in list.tasks where isUsable(task.key) {
            if seen.insert(task.key).inserted {
                tasks.append(task)
            } else {
                complain(
                    "the backend lists the task id \(quoted(task.id)) twice; the first one counts; give the other an id "
                        + "of its own", code: "task.duplicate_id")
            }
        }
        // The backend waits for a result of these as well.
        for entry in list.unreadable {
            guard let id = entry.id.map({ TaskID($0) }), isUsable(id), seen.insert(id).inserted else {
                complain(entry.error.message, code: entry.error.code)
                continue
            }
            rejections.append(
                RejectedTask(
                    id: id, command: entry.command ?? "",
                    error: RunError(code: entry.error.code, message: entry.error.message)))
        }
    }

    private mutating func isUsable(_ id: TaskID) -> Bool {
        if id.isUsable { return true }
        complain(
            "the task id \(quoted(id.text)) is refused: it is empty, a dot segment, longer than 1024 bytes or has "
                + "control characters; give the task another id", code: "task.invalid_id")
        return false
    }

    private mutating func complain(_ message: String, code: String) {
        complaints.append(Complaint(message: message, code: code))
    }
}

/// A task that can't run as it is listed.
struct RejectedTask {
    var id: TaskID
    var command: String
    var error: RunError
}

extension TaskID {
    /// The journal's texts end at a NUL, and `.` and `..` can't be written as a path segment.
    fileprivate var isUsable: Bool {
        !text.isEmpty && text != "." && text != ".." && text.utf8.count <= 1024
            && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}
