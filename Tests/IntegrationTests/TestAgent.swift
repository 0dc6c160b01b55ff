import Agent
import AgentModel
import AgentTestSupport
import Foundation
import InMemoryLogging
import Logging
import Testing

/// An agent in the test's process, with a state of its own.
struct TestAgent {
    let folder: TemporaryFolder
    let runtime: AgentRuntime
    let log: InMemoryLogHandler

    static func start(
        serverURL: String, folder: TemporaryFolder, settings: [String: String] = [:],
        clock: any WallClock = SystemWallClock.shared, missedRuns: Scheduler.MissedRuns? = .skip
    ) async throws -> TestAgent {
        var overrides = [
            "server_url": serverURL, "auth": "False", "plugin_directory": folder.path("plugins"),
            "state_directory": folder.path("state"), "connect_timeout": "5",
        ]
        overrides.merge(settings) { $1 }
        let log = InMemoryLogHandler()
        let logger = Logger(label: "agent") { _ in
            var handler: any LogHandler = log
            handler.logLevel = .debug
            return handler
        }
        let runtime = try await AgentRuntime.build(
            configuration: AgentConfiguration.load(file: nil, overrides: overrides, environment: [:]), clock: clock,
            missedRuns: missedRuns, logger: logger)
        return TestAgent(folder: folder, runtime: runtime, log: log)
    }

    /// Runs what is due now with an agent of its own and closes it.
    @discardableResult
    static func once(
        serverURL: String, folder: TemporaryFolder, settings: [String: String] = [:]
    ) async throws -> (report: AgentRuntime.OnceReport, codes: Set<String>) {
        let agent = try await start(
            serverURL: serverURL, folder: folder, settings: settings, missedRuns: .once)
        let report = try await agent.runtime.runOnce()
        await agent.runtime.close()
        return (report, agent.loggedCodes)
    }

    /// Returns when an error of this code has been logged, or after a minute with an issue recorded.
    func waitForCode(_ code: String) async {
        let deadline = ContinuousClock.now.advanced(by: .seconds(60))
        while !loggedCodes.contains(code) {
            guard ContinuousClock.now < deadline else {
                Issue.record("\(code) was not logged; logged were \(loggedCodes.sorted())")
                return
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    /// The error codes in the log.
    var loggedCodes: Set<String> {
        Set(log.entries.compactMap { $0.metadata["code"].map { "\($0)" } })
    }
}
