import AgentModel
import Foundation
import GRDB

extension RunStart {
    init(row: Row) {
        self.init(
            runID: RunID(stored: row["id"]), taskID: row["task_id"], isOneOff: row["one_off"], command: row["command"],
            pluginID: row["plugin_id"], function: row["function"], scheduledFor: row.date("scheduled_for"),
            startedAt: Date(milliseconds: row["started_at"]), isolation: row["isolation"])
    }
}

extension RunRecord {
    static let outboxColumns = "outbox.state, attempts, next_attempt, reason"
    /// What lists need, which stops short of the wide columns.
    static let columns =
        """
        id, run.task_id, one_off, command, plugin_id, function, isolation, scheduled_for, started_at, status, \
        finished_at, duration_ms, settled_at, discarded, error_code, error_type, error_message, \(outboxColumns)
        """
    static let source = "FROM run LEFT JOIN outbox ON outbox.run_id = run.id"

    init(row: Row, isWhole: Bool) {
        start = RunStart(row: row)
        status = (row["status"] as String?).flatMap(RunStatus.init(rawValue:))
        finishedAt = row.date("finished_at")
        durationMilliseconds = row["duration_ms"]
        delivery = Self.delivery(row)
        result = isWhole && status != nil ? Self.result(row) : nil
        error = isWhole ? result?.error : Self.error(row)
    }

    /// What ``result(_:)`` reads, by place: to find a column by its name costs more than to read it.
    static let resultColumns = resultNames.map { "run.\($0)" }.joined(separator: ", ")
    static let resultColumnCount = resultNames.count
    private static let resultNames = [
        "id", "status", "error_code", "error_type", "error_message", "error_traceback", "data", "stdout", "stderr",
        "started_at", "finished_at", "duration_ms", "scheduled_for", "isolation", "agent_version", "python_stack",
    ]
    /// What a whole run is read from: no wide column twice.
    static let wholeColumns =
        "\(resultColumns), run.task_id, one_off, command, plugin_id, function, settled_at, discarded, \(outboxColumns)"

    /// What is delivered of a finished run.
    /// - Parameter row: begins with ``resultColumns``.
    static func result(_ row: Row) -> TaskResult {
        let error = (row[2] as String?).map { code in
            RunError(code: code, type: row[3], message: row.text(at: 4) ?? "", traceback: row.text(at: 5))
        }
        return TaskResult(
            data: row.text(at: 6), runID: row[0], status: (row[1] as String?).flatMap(RunStatus.init(rawValue:)),
            error: error, stdout: row.text(at: 7), stderr: row.text(at: 8), startedAt: row.date(at: 9),
            finishedAt: row.date(at: 10), durationMilliseconds: row[11], scheduledFor: row.date(at: 12),
            isolation: row[13], pythonStack: row.text(at: 15), agentVersion: row[14])
    }

    /// Without its traceback, which lists don't read.
    private static func error(_ row: Row) -> RunError? {
        guard let code = row["error_code"] as String? else { return nil }
        return RunError(
            code: code, type: row["error_type"], message: row.text("error_message") ?? "", traceback: nil)
    }

    private static func delivery(_ row: Row) -> DeliveryState {
        if let time = row.date("settled_at") {
            return row["discarded"] ? .discarded(at: time) : .delivered(at: time)
        }
        guard let state = row["state"] as Int? else { return .running }
        if state == Schema.OutboxState.dead { return .deadLetter(attempts: row["attempts"], reason: row["reason"]) }
        return .pending(attempts: row["attempts"], nextAttempt: row.attemptTime, reason: row["reason"])
    }
}

extension OutboxEntry {
    init(row: Row) {
        let isDead = row["state"] == Schema.OutboxState.dead
        self.init(
            runID: RunID(stored: row["run_id"]), taskID: row["task_id"], state: isDead ? .deadLetter : .pending,
            status: RunStatus(rawValue: row["status"]) ?? .failed, size: row["size"], attempts: row["attempts"],
            queuedAt: Date(milliseconds: row["queued_at"]), nextAttempt: isDead ? nil : row.attemptTime,
            reason: row["reason"])
    }
}

extension Row {
    fileprivate func date(_ column: String) -> Date? { (self[column] as Int64?).map(Date.init(milliseconds:)) }
    fileprivate func date(at index: Int) -> Date? { (self[index] as Int64?).map(Date.init(milliseconds:)) }

    /// Nil where it is due at once.
    fileprivate var attemptTime: Date? {
        guard let time = self["next_attempt"] as Int64?, time > 0 else { return nil }
        return Date(milliseconds: time)
    }
}
