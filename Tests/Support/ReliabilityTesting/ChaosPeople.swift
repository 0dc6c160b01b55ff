import AgentModel
import Foundation
import ReferenceBackend
import Synchronization

/// People who cancel runs, watch them and ask where they hang while the agent is killed again and again.
final class ChaosPeople: Sendable {
    private struct State {
        /// Cancelled while no agent was there, before anything of them had run.
        var neverToRun: Set<String> = []
        var cancelled: Set<String> = []
        /// What was seen of a run's standard output, by task and the agent's id of the run.
        var seen: [String: [String: Data]] = [:]
        var gaps: [String] = []
        var counts: [String: Int] = [:]
        var tasks: [Task<Void, Never>] = []
    }

    private let service: BackendService
    private let state = Mutex(State())

    init(service: BackendService) { self.service = service }

    /// Of a task that no agent has heard of.
    func cancelBeforeItBegins(_ task: String) async throws {
        try await service.cancelTask(task, by: "chaos", reason: nil)
        state.withLock { state in
            state.neverToRun.insert(task)
            state.cancelled.insert(task)
            state.counts["cancelled before", default: 0] += 1
        }
    }

    /// Goes on until it is cancelled.
    func beBusy(with tasks: ArraySlice<String>, seed: UInt64) -> Task<Void, Never> {
        let tasks = Array(tasks)
        let work = Task { [self] in
            var random = SeededRandom(seed: seed)
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled, !tasks.isEmpty {
                    let task = tasks[Int.random(in: 0..<tasks.count, using: &random)]
                    switch Int.random(in: 0..<10, using: &random) {
                    case 0: await cancel(task)
                    case 1...6: group.addTask { [self] in await watch(task) }
                    case 7...8: group.addTask { [self] in await ask(task) }
                    default: break
                    }
                    try? await Task.sleep(for: .milliseconds(Int.random(in: 10...150, using: &random)))
                }
            }
        }
        state.withLock { $0.tasks.append(work) }
        return work
    }

    func goHome() async {
        let tasks = state.withLock { $0.tasks }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }

    private func count(_ what: String) { state.withLock { $0.counts[what, default: 0] += 1 } }

    private func cancel(_ task: String) async {
        // Most have ended, which is said.
        guard (try? await service.cancelTask(task, by: "chaos", reason: "a whim")) != nil else { return }
        _ = state.withLock { $0.cancelled.insert(task) }
        count("cancelled")
    }

    private func ask(_ task: String) async {
        guard let stack = try? await service.stack(ofTask: task, atMost: .milliseconds(500)) else { return }
        count(stack.pythonStack == nil ? "asked, in no code" : "asked")
    }

    /// Follows a run as a client does, by its offsets, until it ends or nothing comes for a while.
    private func watch(_ task: String) async {
        var run: String?
        var state = RunView.State.waiting
        var end = 0
        let limit = ContinuousClock.now + .seconds(2)
        while !Task.isCancelled, ContinuousClock.now < limit {
            guard
                let view = try? await service.followTask(
                    task, beyond: [.stdout: end], since: state, atMost: .milliseconds(300))
            else { return }
            state = view.state
            if view.state == .ended { return count("watched to the end") }
            guard let id = view.runID else { continue }
            // The backend goes by offsets alone: who follows begins anew with another run.
            if run != nil, run != id { return }
            run = id
            for chunk in view.chunks where chunk.stream == .stdout {
                let expected = end
                self.state.withLock { state in
                    if chunk.offset != expected {
                        state.gaps.append("\(task), run \(id): \(chunk.offset) came where \(expected) was to come")
                    }
                    var seen = state.seen[task, default: [:]][id, default: Data()]
                    if chunk.end > seen.count { seen.append(chunk.bytes.suffix(chunk.end - seen.count)) }
                    state.seen[task, default: [:]][id] = seen
                }
                end = chunk.end
                count("pieces seen")
            }
        }
    }

    var counts: [String: Int] { state.withLock { $0.counts } }

    /// Everything that may not be, by the promise that it breaks.
    func violations(by ledger: ChaosLedger) -> [ChaosReport.Check] {
        let state = state.withLock { $0 }
        let lines = Dictionary(grouping: ledger.lines, by: \.task)
        let results = Dictionary(grouping: ledger.results, by: \.task)
        let unasked = ledger.results.filter { $0.status == "cancelled" && !state.cancelled.contains($0.task) }
        return [
            ChaosReport.Check(
                "cancelled before they began, and run",
                state.neverToRun.sorted().compactMap { task in
                    guard lines[task] != nil || results[task]?.map(\.status) != ["cancelled"] else { return nil }
                    return "\(task) ran \(lines[task]?.count ?? 0) times: \(results[task]?.map(\.status) ?? [])"
                }),
            ChaosReport.Check(
                "cancelled, and nobody wanted that", unasked.map { "\($0.task) (run \($0.runID ?? ""))" }),
            ChaosReport.Check("output seen with a gap", state.gaps),
            ChaosReport.Check(
                "output seen that the result doesn't have",
                state.seen.flatMap { task, runs in
                    (results[task] ?? []).compactMap { result -> String? in
                        guard ["succeeded", "failed"].contains(result.status), let run = result.runID,
                            let seen = runs[run], !Data((result.stdout ?? "").utf8).starts(with: seen)
                        else { return nil }
                        return "\(task), run \(run): \(seen.count) bytes were seen"
                    }
                }),
        ]
    }
}
