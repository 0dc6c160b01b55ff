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
        error = Self.error(row, withTraceback: isWhole)
        delivery = Self.delivery(row)
        result = isWhole && status != nil ? Self.result(row) : nil
    }

    /// What is delivered of a finished run.
    static func result(_ row: Row) -> TaskResult {
        TaskResult(
            data: row.text("data"), runID: row["id"],
            status: (row["status"] as String?).flatMap(RunStatus.init(rawValue:)),
            error: error(row, withTraceback: true), stdout: row.text("stdout"), stderr: row.text("stderr"),
            startedAt: row.date("started_at"), finishedAt: row.date("finished_at"),
            durationMilliseconds: row["duration_ms"], scheduledFor: row.date("scheduled_for"),
            isolation: row["isolation"], agentVersion: row["agent_version"])
    }

    private static func error(_ row: Row, withTraceback: Bool) -> RunError? {
        guard let code = row["error_code"] as String? else { return nil }
        return RunError(
            code: code, type: row["error_type"], message: row.text("error_message") ?? "",
            traceback: withTraceback ? row.text("error_traceback") : nil)
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

    /// Nil where it is due at once.
    fileprivate var attemptTime: Date? {
        guard let time = self["next_attempt"] as Int64?, time > 0 else { return nil }
        return Date(milliseconds: time)
    }
}
