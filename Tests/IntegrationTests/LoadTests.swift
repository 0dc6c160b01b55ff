import Agent
import AgentModel
import AgentTestSupport
import Foundation
import RunJournal
import Synchronization
import Testing

/// Much at once: that all of it comes through. The list of 100,000 one-off tasks is
/// `Scripts/chaos.sh soak --runs 100000 --list 100000 --warm-up 100000`, which takes a minute.
@Suite struct LoadTests {
    /// Counts the results that come in, by task.
    private final class Results: Sendable {
        private let counts = Mutex<[String: Int]>([:])
        var all: [String: Int] { counts.withLock { $0 } }

        func take(_ request: ScriptedServer.Request) -> ScriptedServer.Answer {
            counts.withLock { $0[request.target, default: 0] += 1 }
            return .json("{}", status: 201)
        }
    }

    private func backend(_ tasks: [String]) throws -> (ScriptedBackend, Results) {
        let backend = try ScriptedBackend()
        let results = Results()
        backend.server.route("/api/agent/tasks", .json(#"{"data": [\#(tasks.joined(separator: ", "))]}"#))
        backend.server.routeTheRest(keepsRequests: false) { results.take($0) }
        return (backend, results)
    }

    @Test func aHundredThousandOneOffTasksOfOneListRunOnceEach() async throws {
        let count = 100_000
        let (backend, results) = try backend(
            (0..<count).map {
                #"{"id": "t\#($0)", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#
            })
        let report = try await TestAgent.once(
            serverURL: backend.server.url, folder: TemporaryFolder()
        ).report
        #expect(report.tally.succeeded == count && report.undelivered == 0)
        #expect(results.all.count == count && results.all.values.allSatisfy { $0 == 1 })
    }

    /// Each change used to look through the whole queue.
    @Test func changingWhatIsQueuedTakesTimeInProportion() async throws {
        let backend = try ScriptedBackend()
        func change(_ count: Int) async throws -> Duration {
            let agent = try await TestAgent.start(serverURL: backend.server.url, folder: TemporaryFolder())
            #expect(await agent.runtime.synchronizer.synchronize())
            func submit(_ arguments: String) async {
                for number in 0..<count {
                    let task = TaskDocument(
                        id: "t\(number)", command: "good-plugin.hello", cron: nil, arguments: arguments)
                    await agent.runtime.dispatcher.submit(PlannedRun(task: task))
                }
            }
            await submit("{}")
            let time = await ContinuousClock().measure { await submit(#"{"a": 1}"#) }
            await agent.runtime.close()
            return time
        }
        var ratio = Double.infinity
        // Ten times as many took a hundred times as long. The least of three, since others run beside it.
        for _ in 0..<3 where ratio > 30 { ratio = min(ratio, try await change(20_000) / change(2000)) }
        #expect(ratio < 30)
    }

    @Test func aHundredThousandSchedulesAreKept() async throws {
        let count = 100_000
        let (backend, _) = try backend(
            (0..<count).map {
                #"{"id": "t\#($0)", "command": "good-plugin.hello", "cron": "\#($0 % 60) 3 1 1 *", "arguments": "{}"}"#
            })
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: TemporaryFolder(), clock: ManualClock("2026-11-23T21:00:00Z"))
        #expect(await agent.runtime.synchronizer.synchronize())
        let entries = await agent.runtime.scheduler.entries()
        #expect(entries.count == count && entries.allSatisfy { $0.next != nil })
        #expect(try await agent.runtime.journal.reader.lastFireTimes().count == count)
        await agent.runtime.close()
    }

    @Test func tenThousandWaitingResultsAreDeliveredOnceEach() async throws {
        let count = 10_000
        let folder = try TemporaryFolder()
        let (journal, _) = try await RunJournal.open(directory: folder.path("state"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                group.addTask {
                    let start = RunStart(
                        taskID: "t\(number)", isOneOff: true, command: "good-plugin.hello", startedAt: Date())
                    _ = try await journal.started(start)
                    _ = try await journal.finished(
                        start.runID, status: .succeeded,
                        result: TaskResult(data: "hello", runID: start.runID.rawValue, status: .succeeded))
                }
            }
            try await group.waitForAll()
        }
        await journal.close()
        let (backend, results) = try backend([])
        let report = try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        #expect(report.undelivered == 0)
        #expect(results.all.count == count && results.all.values.allSatisfy { $0 == 1 })
    }
}
