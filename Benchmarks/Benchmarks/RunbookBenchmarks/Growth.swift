import Agent
import AgentModel
import BackendClient
import Cryptography
import Foundation
import PluginExecution
import PluginStore
import RunJournal

/// What a journal does with much in it.
enum JournalGrowth {
    /// Adds results that wait for the backend.
    static func addResults(_ count: Int, to journal: RunJournal) async throws {
        for first in stride(from: 0, to: count, by: 1000) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in first..<min(first + 1000, count) {
                    group.addTask {
                        let start = RunStart(
                            taskID: "task-\(number)", isOneOff: true, command: "square", startedAt: Date())
                        _ = try await journal.started(start)
                        try await journal.finished(
                            start.runID, status: .succeeded,
                            result: TaskResult(data: "4", runID: start.runID.rawValue, status: .succeeded))
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// - Returns: nanoseconds to write down so many results, to hand them out and to settle them; to open the journal
    ///   with them; and to forget them.
    static func measure(_ count: Int) async throws -> (results: Int, opening: Int, history: Int) {
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-bench-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let (journal, _) = try await RunJournal.open(directory: folder)
        let results = try await time {
            try await addResults(count, to: journal)
            while case let due = try await journal.nextDeliveries(limit: 256), !due.isEmpty {
                try await journal.delivered(due.map(\.runID))
            }
        }
        await journal.close()
        var again: RunJournal?
        let opening = try await time { again = try await RunJournal.open(directory: folder).0 }
        let history = try await time {
            _ = try await again?.reader.history(limit: 100)
            _ = try await again?.prune(keepingNewest: 0)
        }
        await again?.close()
        return (results, opening, history)
    }

    static func time(_ body: () async throws -> Void) async rethrows -> Int {
        let start = ContinuousClock.now
        try await body()
        return start.duration(to: .now).wholeNanoseconds
    }
}

/// Lists that are long, and change.
enum ListGrowth {
    /// - Returns: nanoseconds to queue so many one-offs, to change the arguments of each, and to take all off the list.
    static func changedList(_ count: Int) async throws -> Int {
        let agent = try await LoadedAgent(plugins: 1)
        let time = await JournalGrowth.time {
            for round in 0..<3 {
                for number in 0..<count {
                    let task = TaskDocument(
                        id: "task-\(number)", command: "command-0", cron: nil, arguments: #"{"number": \#(round)}"#)
                    await agent.dispatcher.submit(PlannedRun(task: task))
                }
            }
            await agent.dispatcher.withdraw(exceptOneOffs: [], schedules: [])
        }
        await agent.close()
        return time
    }

    /// - Returns: nanoseconds to fetch and load so many plugins while a task waits for each of them.
    static func plugins(_ count: Int) async throws -> Int {
        let agent = try await LoadedAgent(plugins: count, isLoaded: false)
        for number in 0..<count {
            await agent.dispatcher.submit(
                PlannedRun(task: TaskDocument(id: "task-\(number)", command: "command-\(number)", cron: nil)))
        }
        let time = await JournalGrowth.time {
            await agent.load()
            await agent.dispatcher.catalogChanged()
        }
        await agent.close()
        return time
    }
}

/// Plugins with a command each in an agent that runs nothing: what is measured is not Python.
private struct LoadedAgent {
    let dispatcher: Dispatcher
    private let loader: PluginLoader
    private let http: HTTPClient
    private let folder: String
    private let ids: [String]

    init(plugins count: Int, isLoaded: Bool = true) async throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "runbook-bench-\(UUID())").path
        ids = (0..<count).map { "plugin-\($0)" }
        let script = "class Plugin: pass\n"
        let hash = SHA512.hash(script.utf8).hex
        let documents = ids.enumerated().map { number, id in
            (
                "/api/agent/plugin/\(id)",
                """
                {"data":{"id":"\(id)","name":"p","version":1,"description":null,"script":"class Plugin: pass\\n",\
                "hash":"\(hash)","commands":{"command-\(number)":{"id":"1","name":"command-\(number)",\
                "function":"run"}}}}
                """
            )
        }
        let server = try StaticServer(
            answers: Dictionary(uniqueKeysWithValues: documents), fallback: #"{"data":{"id":"1"}}"#)
        http = try HTTPClient()
        let client = try BackendClient(serverURL: "http://127.0.0.1:\(server.port)", http: http)
        let store = try PluginStore(path: folder, backend: client, logger: quietLogger)
        let catalog = PluginCatalog()
        let executor = IdleExecutor()
        let dispatcher = Dispatcher(
            dependencies: Dispatcher.Dependencies(
                journal: MemoryLedger(), catalog: catalog, executor: executor, clock: SystemWallClock.shared,
                recheck: { try await store.recheck($0) }, onResult: {}, onDamagedPlugin: { _ in }),
            workers: 4, logger: quietLogger)
        self.dispatcher = dispatcher
        loader = PluginLoader(
            store: store, executor: executor, catalog: catalog, settings: { _, _ in PluginSettings() },
            forget: { _ in }, crashes: { [:] }, redownloads: false, clock: SystemWallClock.shared, collectGarbage: {},
            onChange: { Task { await dispatcher.catalogChanged() } }, logger: quietLogger)
        if isLoaded { await load() }
    }

    func load() async { _ = await loader.bringUpToDate(loader.accept(ids)) }

    func close() async {
        await http.shutdown()
        try? FileManager.default.removeItem(atPath: folder)
    }
}

/// Has every plugin and runs nothing.
private struct IdleExecutor: Executor {
    func load(_ image: PluginImage) async throws(PluginExecutionError) -> String { "" }
    func unload(_ id: PluginID) async -> RunError? { nil }
    func stack(of runID: String) async -> String? { nil }
    func execute(_ invocation: Invocation) async -> Outcome {
        Outcome(status: .succeeded, startedAt: Date(), isolation: .none)
    }
    func missingFunctions(among functions: [String], of id: PluginID) async -> [String] { [] }
    func isolation(of id: PluginID) -> RunIsolation { .none }
    func configure(_ id: PluginID, concurrency: Int, timeLimit: Duration?, keepsPrograms: Bool?) {}
    func cancel(_ runID: String) {}

    func observe(_ runID: String) {}

    func stopStarting() {}
    func stopCalls() {}
    func shutDown() async {}
}
