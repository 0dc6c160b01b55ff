import Agent
import Foundation
import Testing

@testable import AgentCommands

/// What `status` calls a problem, where it takes a minute to come about.
@Suite struct StatusProblemTests {
    private let now = Date(timeIntervalSince1970: 1_795_000_000)

    private func report(_ executor: AgentStatus.ExecutorState, queued: Int) -> StatusReport {
        StatusReport(
            agent: StatusReport.AgentState(
                state: .running, processID: 1, version: nil, serverURL: nil, startedAt: now, stoppedAt: nil,
                failure: nil, isOnce: false, isSuspended: false, id: nil, name: nil, stateDirectory: "/"),
            login: StatusReport.Login(nil), backend: nil, plugins: AgentStatus.Listing(), queued: queued,
            waiting: AgentStatus.Listing(), schedules: AgentStatus.Listing(),
            running: StatusReport.Running(total: 0, first: []),
            outbox: StatusReport.Outbox(pending: 0, deadLetters: 0, bytes: 0, oldest: nil, oldestSeconds: nil),
            recordedAt: nil, now: now, executor: executor)
    }

    private func executor(_ workers: Int, since ages: Double...) -> AgentStatus.ExecutorState {
        AgentStatus.ExecutorState(
            workers: workers, hold: nil,
            uses: ages.enumerated().map { number, age in
                AgentStatus.Use(
                    plugin: "p\(number)", run: nil, kind: "call", state: "running", since: now.addingTimeInterval(-age))
            })
    }

    private func problems(_ executor: AgentStatus.ExecutorState, queued: Int) -> [StatusProblem] {
        report(executor, queued: queued).findProblems(pollInterval: 60, requestTimeout: 30, writeProblem: nil)
    }

    @Test func workersThatAreAllTakenForLongWhileRunsWait() throws {
        let problem = try #require(problems(executor(2, since: 61, 5), queued: 3).first)
        #expect(problem.code == "executor.busy")
        #expect(problem.message.contains("all 2 workers") && problem.message.contains(#"by the plugin "p0" (call)"#))
        #expect(problem.message.contains("3 runs wait"))
    }

    @Test func nothingIsWrongWhereNoneWaitsOrNotForLong() {
        #expect(problems(executor(2, since: 61, 5), queued: 0).isEmpty)
        #expect(problems(executor(2, since: 59, 5), queued: 3).isEmpty)
        #expect(problems(executor(3, since: 61, 5), queued: 3).isEmpty)
    }
}
