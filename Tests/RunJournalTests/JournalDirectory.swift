import AgentModel
import Foundation
import RunJournal

/// A state directory of one test, removed with it.
final class JournalDirectory: Sendable {
    let path: String

    init() {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("journal-\(UUID().uuidString)").path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var database: String { path + "/journal.sqlite" }

    func open(now: Date = Date()) async throws -> RunJournal { try await RunJournal.open(directory: path, now: now).0 }

    func files(beginningWith prefix: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasPrefix(prefix) }.sorted()
    }
}

/// A time with whole milliseconds, as the journal keeps them.
let noon = Date(timeIntervalSince1970: 1_795_000_000)

func oneOff(_ taskID: String, runID: RunID = RunID(), function: String = "greet") -> RunStart {
    RunStart(
        runID: runID, taskID: taskID, isOneOff: true, command: "demo.\(function)", pluginID: "demo",
        function: function,
        startedAt: noon, isolation: "in-process")
}

func scheduled(_ taskID: String, at time: Date = noon) -> RunStart {
    RunStart(
        taskID: taskID, isOneOff: false, command: "demo.square", pluginID: "demo", function: "square",
        scheduledFor: time, startedAt: time, isolation: "in-process")
}

func result(_ data: String? = "done") -> TaskResult {
    TaskResult(
        data: data, stdout: "out", stderr: "err", finishedAt: noon.addingTimeInterval(1), durationMilliseconds: 1000,
        isolation: "in-process", agentVersion: "1.0.0")
}

extension RunJournal {
    /// Writes a run down and has its plugin's code begin.
    @discardableResult
    func begin(_ run: RunStart) async throws -> StartDecision {
        let decision = try await started(run)
        guard decision == .go, let trace else { return decision }
        trace.enter(run: run.runID.rawValue, plugin: run.pluginID ?? "", scriptHash: "h")
        trace.leave()
        return decision
    }

    /// A run from its start to its place in the outbox.
    @discardableResult
    func run(_ run: RunStart, data: String? = "done") async throws -> RunID {
        guard try await started(run) == .go else { return run.runID }
        try await finished(run.runID, status: .succeeded, result: result(data))
        return run.runID
    }
}
