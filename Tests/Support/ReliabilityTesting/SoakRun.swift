import AgentModel
import AgentTestSupport
import Cryptography
import Diagnostics
import Foundation
import Synchronization
import Threads

/// Has one agent run one-off tasks as fast as they go, against a static local server, and watches what it holds.
public struct SoakRun {
    /// How a soak goes.
    public struct Options: Sendable {
        /// The built `runbook-agent`.
        public var agent: String
        public var runs: Int
        /// After how many runs the agent is warm: what it holds then is what the end is compared with.
        public var warmUp: Int
        /// How many tasks are listed at the same time.
        public var listed: Int

        public init(agent: String, runs: Int, warmUp: Int = 20_000, listed: Int = 2000) {
            self.agent = agent
            self.runs = runs
            self.warmUp = min(warmUp, runs)
            self.listed = listed
        }
    }

    /// What the agent held after some runs.
    public struct Sample: Sendable {
        public var runs: Int
        public var seconds: Double
        public var usage: ProcessUsage
        /// `sys.getallocatedblocks()` as the last call returned it.
        public var pythonBlocks: Int

        public var line: String {
            let megabytes = (Double(usage.residentBytes) / 104_857.6).rounded() / 10
            return "\(runs) runs  \(Int(seconds)) s  \(megabytes) MiB  \(usage.threads)+\(usage.poolThreads) threads  "
                + "\(usage.descriptors) descriptors  \(pythonBlocks) Python blocks"
        }
    }

    /// What a soak came to.
    public struct Report: Sendable {
        public var samples: [Sample]
        public var warm: Sample
        public var end: Sample
        public var failures: [String]
    }

    /// How much more memory than after the warm-up is allowed.
    public static let growthLimit = 0.10

    /// - Parameter say: is told of each sample.
    public static func run(_ options: Options, say: (Sample) -> Void) async throws -> Report {
        let folder = try TemporaryFolder()
        let server = try SoakServer(listed: options.listed)
        let agent = try SpawnedProcess(
            [
                options.agent, "run", "--log-level", "warning", "--set", "server_url=\(server.url)", "--set", "auth=no",
                "--set",
                "plugin_directory=\(folder.path("plugins"))", "--set", "state_directory=\(folder.path("state"))",
                "--set",
                "poll_interval=0.1", "--set", "workers=\(SoakServer.plugins)",
            ], output: .log(folder.path("output.log")))
        let start = ContinuousClock.now
        let step = max(1, options.warmUp)
        var samples: [Sample] = []
        for mark in stride(from: step, through: options.runs, by: step) {
            guard await server.waitForResults(mark, or: agent) else { break }
            // Nothing more is listed, so that the agent is at rest.
            guard let usage = ProcessUsage(of: agent.processID) else { break }
            let sample = Sample(
                runs: server.resultCount, seconds: start.duration(to: .now).seconds, usage: usage,
                pythonBlocks: server.pythonBlocks)
            samples.append(sample)
            say(sample)
        }
        if let warm = samples.first, let last = samples.indices.last, last > 0 {
            samples[last].usage = await atRest(agent, after: warm.usage) ?? samples[last].usage
            say(samples[last])
        }
        let finished = server.resultCount
        agent.send(SIGTERM)
        let ending = await agent.end(within: .seconds(60))
        if ending == nil { await agent.end(with: SIGKILL) }
        guard let warm = samples.first, let end = samples.last else {
            throw SoakError.ended(log: (try? String(contentsOfFile: folder.path("output.log"), encoding: .utf8)) ?? "")
        }
        var failures: [String] = []
        if finished < options.runs { failures.append("\(finished) results came of \(options.runs)") }
        if server.repeatedResults > 0 { failures.append("\(server.repeatedResults) tasks had two runs") }
        if ending != .exited(0) {
            failures.append("the agent answered SIGTERM with \(ending.map { "\($0)" } ?? "nothing")")
        }
        let growth = Double(end.usage.residentBytes) / Double(warm.usage.residentBytes) - 1
        if growth > growthLimit {
            failures.append("the memory grew by \((growth * 1000).rounded() / 10) % since \(warm.runs) runs")
        }
        if end.usage.threads > warm.usage.threads { failures.append("there are more threads than after the warm-up") }
        if end.usage.descriptors > warm.usage.descriptors {
            failures.append("there are more descriptors than after the warm-up")
        }
        return Report(samples: samples, warm: warm, end: end, failures: failures)
    }
}

extension SoakRun {
    /// Waits for threads and descriptors that are kept for a while only: those that stay are left behind.
    private static func atRest(_ agent: SpawnedProcess, after warm: ProcessUsage) async -> ProcessUsage? {
        let limit = ContinuousClock.now.advanced(by: .seconds(60))
        var usage = ProcessUsage(of: agent.processID)
        while let current = usage, current.threads > warm.threads || current.descriptors > warm.descriptors,
            ContinuousClock.now < limit, await agent.end(within: .milliseconds(500)) == nil
        {
            usage = ProcessUsage(of: agent.processID)
        }
        return usage
    }
}

/// Why a soak could not be measured.
enum SoakError: CodedError {
    /// The agent ended before its first result.
    case ended(log: String)

    var code: String { "soak.ended" }
    var message: String {
        switch self {
        case .ended(let log):
            "the agent ended before it was warm; its log ends with \(quoted(String(log.suffix(2000))))"
        }
    }
}

/// Lists the next tasks without a result, and takes results.
private final class SoakServer: Sendable {
    private struct State {
        var results: Set<Int> = []
        /// All tasks before this one have a result.
        var first = 0
        /// Tasks from this one on are not listed yet.
        var limit = 0
        /// Polls since the last result.
        var polls = 0
        var repeated = 0
        var pythonBlocks = 0
        var list: (results: Int, limit: Int, json: String)?
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let server: ScriptedServer
    private let state = Mutex(State())
    private let listed: Int

    /// Each has its calls one at a time.
    static let plugins = 8
    private static let script = """
        import sys
        class Plugin:
            def call(self): return str(sys.getallocatedblocks())
        """

    init(listed: Int) throws {
        server = try ScriptedServer()
        self.listed = listed
        let names = (0..<Self.plugins).map { "soak-\($0)" }
        let list = names.map { JSONValue.string($0) }
        server.route(
            "/api/agent",
            .json(JSONValue.object(["data": ["id": "a", "name": "A", "team_id": "t", "plugins": .array(list)]]).text))
        for name in names {
            let command = "\(name).call"
            let document: [String: JSONValue] = [
                "id": .string(name), "name": "soak", "version": 0, "description": nil, "script": .string(Self.script),
                "hash": .string(SHA512.hash(Self.script.utf8).hex),
                "commands": .object([command: ["id": "x", "name": .string(command), "function": "call"]]),
            ]
            server.route("/api/agent/plugin/\(name)", .json(JSONValue.object(["data": .object(document)]).text))
        }
        server.routeTheRest(keepsRequests: false) { [weak self] request in self?.answer(request) ?? .close }
    }

    var url: String { server.url }
    var resultCount: Int { state.withLock { $0.results.count } }
    var repeatedResults: Int { state.withLock { $0.repeated } }
    var pythonBlocks: Int { state.withLock { $0.pythonBlocks } }

    /// Lists tasks until so many have a result and the agent is at rest. False where the agent ended before.
    func waitForResults(_ count: Int, or agent: SpawnedProcess) async -> Bool {
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                await self.wait(for: count)
                return true
            }
            group.addTask {
                _ = await agent.end()
                self.giveUp()
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }

    private func wait(for count: Int) async {
        await withCheckedContinuation { continuation in
            state.withLock { state in
                state.limit = count
                state.waiter = continuation
            }
        }
    }

    private func giveUp() {
        state.withLock { exchange(&$0.waiter, with: nil) }?.resume()
    }

    private func answer(_ request: ScriptedServer.Request) -> ScriptedServer.Answer {
        if request.method == "GET" {
            let (json, waiter) = state.withLock { state in (list(&state), Self.atRest(&state)) }
            waiter?.resume()
            return .json(json)
        }
        guard let number = request.target.split(separator: "-").last.flatMap({ Int($0) }) else {
            return .json("{}", status: 404)
        }
        let result = try? JSONDecoder().decode(TaskResult.self, from: request.body)
        state.withLock { state in
            if !state.results.insert(number).inserted { state.repeated += 1 }
            state.polls = 0
            if let blocks = result?.data.flatMap({ Int($0) }) { state.pythonBlocks = blocks }
        }
        return .json("{}", status: 201)
    }

    /// The one that waits for the agent to have done everything, some polls ago.
    private static func atRest(_ state: inout State) -> CheckedContinuation<Void, Never>? {
        state.polls += 1
        guard state.results.count >= state.limit, state.polls > 5 else { return nil }
        return exchange(&state.waiter, with: nil)
    }

    private func list(_ state: inout State) -> String {
        if let list = state.list, list.results == state.results.count, list.limit == state.limit { return list.json }
        while state.results.contains(state.first) { state.first += 1 }
        var tasks: [String] = []
        var number = state.first
        while number < state.limit, tasks.count < listed {
            if !state.results.contains(number) {
                let command = "soak-\(number % Self.plugins).call"
                tasks.append(
                    #"{"id": "task-\#(number)", "command": "\#(command)", "cron": null, "arguments": "{}"}"#)
            }
            number += 1
        }
        let json = #"{"data": [\#(tasks.joined(separator: ", "))]}"#
        state.list = (state.results.count, state.limit, json)
        return json
    }
}
