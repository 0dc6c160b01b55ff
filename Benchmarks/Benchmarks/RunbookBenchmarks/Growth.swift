import Agent
import AgentModel
import Foundation
import Logging
import PluginStore
import RunJournal

/// Processor time of work on lists of different lengths: what grows faster than its work shows in the exponent.
enum Growth {
    static let sizes = [1_000, 10_000, 100_000]

    /// Nanoseconds of processor time, of all threads, for each of the sizes.
    private static func times(_ work: (Int) async throws -> Int) async rethrows -> [Int] {
        var times: [Int] = []
        for size in sizes { times.append(try await work(size)) }
        return times
    }

    private static func cost(of work: () async throws -> Void) async rethrows -> Int {
        let start = processorTime
        try await work()
        return processorTime - start
    }

    private static var processorTime: Int {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    private static func inFolder<Result>(_ body: (String) async throws -> Result) async rethrows -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-growth-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        return try await body(folder)
    }

    // MARK: Lists

    private static func document(_ number: Int, cron: String? = nil, arguments: String = "{}") -> TaskDocument {
        TaskDocument(id: "task-\(number)", command: "square", cron: cron, arguments: arguments)
    }

    /// An agent whose only plugin has been loaded and whose dispatcher doesn't run: what is handed in stays queued.
    private static func withAgent(
        tasks: [TaskDocument] = [], _ body: (AgentRuntime) async throws -> Int
    ) async throws -> Int {
        let server = try TaskThroughput(tasks: tasks)
        return try await inFolder { folder in
            let agent = try await server.agent(folder: folder)
            let cost = try await body(agent)
            await agent.close()
            return cost
        }
    }

    /// A list with as many one-off tasks and as many schedules is read and taken up.
    static func list() async throws -> [Int] {
        try await times { size in
            let tasks = (0..<size).map { document($0, cron: $0.isMultiple(of: 2) ? nil : "0 0 1 1 *") }
            return try await withAgent(tasks: tasks) { agent in
                await cost { _ = await agent.synchronizer.synchronize() }
            }
        }
    }

    /// The arguments of every queued one-off task change, and then every task is withdrawn.
    static func changedList() async throws -> [Int] {
        try await times { size in
            try await withAgent { agent in
                _ = await agent.synchronizer.synchronize()
                for number in 0..<size { await agent.dispatcher.submit(PlannedRun(task: document(number))) }
                return await cost {
                    for number in 0..<size {
                        let changed = document(number, arguments: #"{"number": 3}"#)
                        await agent.dispatcher.submit(PlannedRun(task: changed))
                    }
                    await agent.dispatcher.withdraw(exceptOneOffs: [], schedules: [])
                }
            }
        }
    }

    /// Plugins come, and the command of each is looked up.
    static func plugins() async throws -> [Int] {
        try await times { size in
            let catalog = PluginCatalog()
            let ids = try (0..<size).map { try PluginID("plugin-\($0)") }
            let error = RunError(code: "plugin.invalid", message: "it is one of many")
            return await cost {
                await catalog.expect(ids, outdated: [])
                for id in ids { await catalog.set(.failed(error: error, commands: ["\(id.rawValue).go"]), for: id) }
                for id in ids { _ = await catalog.resolve("\(id.rawValue).go") }
                for id in ids { await catalog.remove(id) }
            }
        }
    }

    // MARK: The journal

    /// What is done with many runs, in the order in which it is done.
    struct JournalCosts {
        var written: [Int] = []
        var delivered: [Int] = []
        var opened: [Int] = []
        var listedAndForgotten: [Int] = []
    }

    static func journal() async throws -> JournalCosts {
        var costs = JournalCosts()
        for size in sizes {
            try await inFolder { folder in
                let (journal, _) = try await RunJournal.open(directory: folder)
                costs.written.append(try await cost { try await write(size, into: journal) })
                costs.delivered.append(try await cost { try await deliver(from: journal) })
                await journal.close()
                var reopened: RunJournal?
                costs.opened.append(try await cost { reopened = try await RunJournal.open(directory: folder).0 })
                guard let reopened else { return }
                costs.listedAndForgotten.append(
                    try await cost {
                        for _ in 0..<size / 1000 { _ = try await reopened.reader.history(limit: 100) }
                        _ = try await reopened.prune(keepingNewest: 0)
                    })
                await reopened.close()
            }
        }
        return costs
    }

    private static func write(_ size: Int, into journal: RunJournal) async throws {
        for first in stride(from: 0, to: size, by: 500) {
            try await withThrowingDiscardingTaskGroup { group in
                for number in first..<min(size, first + 500) {
                    group.addTask {
                        let start = RunStart(
                            taskID: "task-\(number)", isOneOff: true, command: "square", startedAt: Date())
                        _ = try await journal.started(start)
                        try await journal.finished(
                            start.runID, status: .succeeded,
                            result: TaskResult(data: "4", runID: start.runID.rawValue, status: .succeeded))
                    }
                }
            }
        }
    }

    private static func deliver(from journal: RunJournal) async throws {
        while true {
            let next = try await journal.nextDeliveries(limit: 256)
            guard !next.isEmpty else { return }
            try await journal.delivered(next.map(\.runID))
        }
    }
}
