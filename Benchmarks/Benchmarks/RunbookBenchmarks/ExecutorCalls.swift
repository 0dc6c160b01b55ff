import AgentModel
import Foundation
import PluginExecution
import PythonEmbedding

/// Calls of `square` through the in-process executor.
enum ExecutorCalls {
    static let script = """
        class Plugin:
            def square(self, number): return number ** 2
        """
    static let arguments = #"{"number": 2}"#

    struct WrongOutcome: Error {
        let outcome: Outcome
    }

    /// The time that the one worker was on a processor, for each call: it never waits for work.
    static func workerTimePerCall(callers: Int, calls: Int) async throws -> Int {
        let (executor, invocation) = try await makeExecutor(workers: 1)
        let before = try workerTime()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<callers {
                group.addTask {
                    for _ in 0..<(calls / callers) { try await check(executor.execute(invocation)) }
                }
            }
            try await group.waitForAll()
        }
        let time = try workerTime() - before
        await executor.shutDown()
        return time / calls
    }

    /// From the caller's `await` to its next line.
    static func roundTrip(calls: Int) async throws -> Int {
        let (executor, invocation) = try await makeExecutor(workers: 4)
        try await check(executor.execute(invocation))
        let start = ContinuousClock.now
        for _ in 0..<calls { try await check(executor.execute(invocation)) }
        let time = start.duration(to: .now)
        await executor.shutDown()
        return time.wholeNanoseconds / calls
    }

    static func makeExecutor(workers: Int) async throws -> (InProcessExecutor, Invocation) {
        let executor = try InProcessExecutor(interpreter: .start(), workers: workers) {}
        let id = try PluginID("square")
        // With a limit, as every call has one by default.
        try await executor.load(
            PluginImage(id: id, script: Array(script.utf8), path: "/square.py", timeLimit: .seconds(3600)))
        return (executor, Invocation(pluginID: id, function: "square", arguments: arguments))
    }

    private static func check(_ outcome: Outcome) throws {
        guard outcome.data == "4" else { throw WrongOutcome(outcome: outcome) }
    }

    /// Nanoseconds on a processor of all threads that are workers (proc(5), `schedstat`).
    private static func workerTime() throws -> Int {
        let tasks = "/proc/self/task"
        return try FileManager.default.contentsOfDirectory(atPath: tasks).reduce(into: 0) { sum, task in
            guard let name = try? String(contentsOfFile: "\(tasks)/\(task)/comm", encoding: .utf8),
                name.wholeMatch(of: /python-\d+\n/) != nil,
                let text = try? String(contentsOfFile: "\(tasks)/\(task)/schedstat", encoding: .utf8),
                let time = text.split(separator: " ").first.flatMap({ Int($0) })
            else { return }
            sum += time
        }
    }
}
