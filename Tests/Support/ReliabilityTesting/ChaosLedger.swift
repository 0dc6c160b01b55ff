import AgentModel
import Foundation
import GRDB

/// What the plugins wrote and what the backend has, side by side.
struct ChaosLedger {
    /// One call of a plugin, by its own account.
    struct Line {
        var task: String
        var marker: String
    }

    /// One result, by the backend's.
    struct Result {
        var sequence: Int64
        var task: String
        var runID: String?
        var status: String
        var startedAt: String
        var scheduledFor: String?
        /// What the call printed of itself, if its output came through.
        var marker: String?
        var stdout: String?
    }

    var lines: [Line]
    var results: [Result]

    /// - Parameters:
    ///   - ledger: the file that the plugins append to.
    ///   - database: the backend's.
    init(ledger: String, database: String) throws {
        let text =
            FileManager.default.fileExists(atPath: ledger) ? try String(contentsOfFile: ledger, encoding: .utf8) : ""
        lines = text.split(separator: "\n").map { line in
            let parts = line.split(separator: " ")
            return Line(task: String(parts[0]), marker: parts.count == 3 ? String(parts[2]) : "(cut)")
        }
        var configuration = Configuration()
        configuration.readonly = true
        results = try DatabaseQueue(path: database, configuration: configuration).read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT sequence, task_id, run_id, status, started_at, scheduled_for, CAST(stdout AS TEXT) AS stdout
                    FROM run ORDER BY sequence
                    """
            ).map { row in
                Result(
                    sequence: row["sequence"], task: row["task_id"], runID: row["run_id"],
                    status: row["status"] ?? "(none)", startedAt: row["started_at"] ?? "",
                    scheduledFor: row["scheduled_for"], marker: Self.marker(in: row["stdout"]),
                    stdout: row["stdout"])
            }
        }
    }

    init(lines: [Line], results: [Result]) {
        self.lines = lines
        self.results = results
    }

    private static func marker(in output: String?) -> String? {
        guard let line = output?.split(separator: "\n").first, line.hasPrefix("marker=") else { return nil }
        return String(line.dropFirst(7))
    }

    /// Everything that may not be, a sentence each, by the promise that it breaks.
    func violations(oneOffs: [String], schedules: [String]) -> [ChaosReport.Check] {
        let linesByTask = Dictionary(grouping: lines, by: \.task)
        let resultsByTask = Dictionary(grouping: results, by: \.task)
        return [
            ChaosReport.Check(
                "one-offs without a result (lost)",
                oneOffs.filter { resultsByTask[$0] == nil }.map { task in
                    "\(task) has no result; the plugin wrote \(linesByTask[task]?.count ?? 0) lines"
                }),
            ChaosReport.Check(
                "one-offs run twice",
                oneOffs.filter { !Self.mayRunAgain($0) }.compactMap { task in
                    let count = linesByTask[task]?.count ?? 0
                    return count > 1 ? "\(task) ran \(count) times" : nil
                }),
            ChaosReport.Check("results stored twice", storedTwice(oneOffs, resultsByTask)),
            ChaosReport.Check("calls that a result doesn't tell of", untold(linesByTask, resultsByTask)),
            ChaosReport.Check("results of calls that weren't", invented(linesByTask, resultsByTask)),
            ChaosReport.Check("fire times run twice", firedTwice(schedules, resultsByTask)),
            ChaosReport.Check("results out of order", outOfOrder(schedules, resultsByTask)),
        ]
    }

    /// Whether the task is one of a plugin that is idempotent: it was cut off before it ran again.
    static func mayRunAgain(_ task: String) -> Bool { task.hasSuffix("-\(ChaosPlugin.again.rawValue)") }

    private func storedTwice(_ oneOffs: [String], _ resultsByTask: [String: [Result]]) -> [String] {
        let twice = Dictionary(grouping: results.compactMap(\.runID), by: \.self).filter { $0.value.count > 1 }
        return twice.map { "the run \($0.key) is stored \($0.value.count) times" }
            + oneOffs.compactMap { task in
                let stored = resultsByTask[task] ?? []
                return stored.count > 1 ? "\(task) has \(stored.count) results: \(stored.map(\.status))" : nil
            }
    }

    /// A call whose output isn't in any result must be one that was cut off, and told of as that.
    private func untold(_ linesByTask: [String: [Line]], _ resultsByTask: [String: [Result]]) -> [String] {
        linesByTask.compactMap { task, lines in
            let stored = resultsByTask[task] ?? []
            let markers = Set(stored.compactMap(\.marker))
            // What was cut off and ran again is told of once.
            let silent = Self.mayRunAgain(task) ? 0 : lines.filter { !markers.contains($0.marker) }.count
            let cutOff = stored.filter {
                $0.marker == nil && ["interrupted", "crashed", "timed_out", "cancelled"].contains($0.status)
            }
            return silent > cutOff.count
                ? "\(task): \(silent) calls left no output in a result, and \(cutOff.count) results tell of a cut-off run"
                : nil
        }
    }

    private func invented(_ linesByTask: [String: [Line]], _ resultsByTask: [String: [Result]]) -> [String] {
        resultsByTask.flatMap { task, stored -> [String] in
            let markers = Set((linesByTask[task] ?? []).map(\.marker))
            let told = stored.compactMap(\.marker)
            let unknown = told.filter { !markers.contains($0) }
            let twice = Dictionary(grouping: told, by: \.self).filter { $0.value.count > 1 }.keys
            let unmarked = stored.filter { $0.marker == nil && ["succeeded", "failed"].contains($0.status) }
            return unknown.map { "\(task): the result of \($0), which the plugin never wrote" }
                + twice.map { "\(task): two runs tell of the one call \($0)" }
                + unmarked.map { "\(task): \($0.status) without the output of its call (run \($0.runID ?? ""))" }
        }
    }

    private func firedTwice(_ schedules: [String], _ resultsByTask: [String: [Result]]) -> [String] {
        schedules.flatMap { task in
            Dictionary(grouping: (resultsByTask[task] ?? []).compactMap(\.scheduledFor), by: \.self)
                .filter { $0.value.count > 1 }
                .map { "\(task) ran \($0.value.count) times for \($0.key)" }
        }
    }

    private func outOfOrder(_ schedules: [String], _ resultsByTask: [String: [Result]]) -> [String] {
        schedules.flatMap { task -> [String] in
            let stored = resultsByTask[task] ?? []
            return zip(stored, stored.dropFirst()).filter { $0.startedAt > $1.startedAt }
                .map { "\(task): the run of \($1.startedAt) came after that of \($0.startedAt)" }
        }
    }
}
