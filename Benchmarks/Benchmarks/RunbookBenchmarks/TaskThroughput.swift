import Agent
import AgentModel
import BackendClient
import Cryptography
import Foundation
import Logging
import PluginExecution
import PluginStore
import PythonEmbedding

/// One-off tasks from the list to the delivered result, against a server that takes everything.
struct TaskThroughput {
    private let tasks: Int
    private static let plugin = "9ab56426-f429-4c4b-9755-40c92449f0be"

    private let server: StaticServer
    private var url: String { "http://127.0.0.1:\(server.port)" }

    struct Incomplete: Error {
        let report: String
    }

    init(tasks count: Int = 10_000) throws {
        tasks = count
        let hash = SHA512.hash(ExecutorCalls.script.utf8).hex
        let script = String(decoding: try JSONEncoder().encode(ExecutorCalls.script), as: UTF8.self)
        let tasks = (0..<count).map {
            #"{"id":"task-\#($0)","command":"square","cron":null,"arguments":"{\"number\": 2}"}"#
        }
        server = try StaticServer(
            answers: [
                "/api/agent": #"{"data":{"id":"1","name":"bench","team_id":"1","plugins":["\#(Self.plugin)"]}}"#,
                "/api/agent/plugin/\(Self.plugin)": """
                {"data":{"id":"\(Self.plugin)","name":"square","version":1,"description":null,"script":\(script),\
                "hash":"\(hash)","commands":{"square":{"id":"1","name":"square","function":"square"}}}}
                """,
                "/api/agent/tasks": #"{"data":[\#(tasks.joined(separator: ","))]}"#,
            ], fallback: #"{"data":{"id":"1"}}"#)
    }

    /// The agent as it is, all parts of it.
    /// - Returns: nanoseconds from the first request to the last result delivered.
    func journalled(delivers: Bool = true) async throws -> Int {
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-bench-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let configuration = try AgentConfiguration.load(
            file: nil,
            overrides: [
                "server_url": url, "auth": "False", "plugin_directory": folder + "/plugins",
                "state_directory": folder + "/state",
            ], environment: [:])
        let agent = try await AgentRuntime.build(configuration: configuration, logger: logger)
        let start = ContinuousClock.now
        if delivers {
            let report = try await agent.runOnce()
            guard report.isGood, report.tally.succeeded == tasks else { throw Incomplete(report: "\(report)") }
        } else {
            await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await agent.dispatcher.run() }
                await agent.synchronizer.synchronize()
                await agent.dispatcher.idle()
                group.cancelAll()
            }
            let tally = await agent.dispatcher.tally
            guard tally.succeeded == tasks else { throw Incomplete(report: "\(tally)") }
        }
        let time = start.duration(to: .now)
        await agent.close()
        return time.wholeNanoseconds
    }

    /// The same loop with ``MemoryLedger`` in the journal's place.
    /// - Returns: nanoseconds from the first request to the last result delivered.
    func unjournalled(delivers: Bool = true) async throws -> Int {
        let folder = FileManager.default.temporaryDirectory.appending(path: "runbook-bench-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let ledger = MemoryLedger()
        let http = try HTTPClient()
        let client = try BackendClient(serverURL: url, http: http)
        let executor = try InProcessExecutor(interpreter: .start(), workers: 4) {}
        let catalog = PluginCatalog()
        let store = try PluginStore(path: folder, backend: client, logger: logger)
        let loader = PluginLoader(
            store: store, executor: executor, catalog: catalog, settings: { _, _ in PluginSettings() },
            forget: { _ in }, crashes: { [:] }, redownloads: false, clock: SystemWallClock.shared, collectGarbage: {},
            onChange: {}, logger: logger)
        let reporter = Reporter(
            journal: ledger, client: client, clock: SystemWallClock.shared, isMinimal: false, logger: logger)
        let dispatcher = Dispatcher(
            dependencies: Dispatcher.Dependencies(
                journal: ledger, catalog: catalog, executor: executor, clock: SystemWallClock.shared,
                recheck: { try await store.recheck($0) }, onResult: { reporter.wake() }, onDamagedPlugin: { _ in }),
            workers: 4, logger: logger)
        let start = ContinuousClock.now
        guard case .changed(let agent, _) = try await client.agent() else { throw Incomplete(report: "agent") }
        guard await loader.bringUpToDate(loader.accept(agent.plugins)) else { throw Incomplete(report: "plugins") }
        guard let list = try await client.tasks().list else { throw Incomplete(report: "tasks") }
        await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await dispatcher.run() }
            async let delivery: Void = delivers ? reporter.runUntilFinished() : ()
            for task in list.tasks { await dispatcher.submit(PlannedRun(task: task)) }
            await dispatcher.idle()
            reporter.finish()
            await delivery
            group.cancelAll()
        }
        let time = start.duration(to: .now)
        let tally = await dispatcher.tally
        guard tally.succeeded == tasks else { throw Incomplete(report: "\(tally)") }
        await executor.shutDown()
        await http.shutdown()
        return time.wholeNanoseconds
    }

    private var logger: Logger {
        var logger = Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .warning
        return logger
    }
}
