import AgentModel
import AgentTestSupport
import Foundation
import Testing

@testable import ReferenceBackend

/// What a run prints while it runs, on its way to whoever follows it, with a real agent.
@Suite(.serialized) struct WatchTests {
    private static let script = """
        import os, sys, time
        class Plugin:
            def talk(self, gate):
                print("ä", end="", flush=True)
                print("warned", file=sys.stderr, flush=True)
                while not os.path.exists(gate): time.sleep(0.005)
                print(" and on")
                return 5
            def chat(self, gate):
                number = 0
                while not os.path.exists(gate):
                    print("line", number)
                    number += 1
                    time.sleep(0.05)
            def fast(self):
                print("hi")
                return 1
            def much(self):
                for number in range(20000): print("line", number)
                time.sleep(1.5)
        """

    @Test(arguments: ["in-process", "sandbox"])
    func itIsSeenWhileTheRunGoesOnAndTheResultComplementsIt(_ isolation: String) async throws {
        try await withAgent(isolation: isolation) { backend, plugin, folder in
            let gate = folder.path("gate")
            try await create("talk", "talk", #"{"gate": "\#(gate)"}"#, backend, plugin)
            var seen = Seen()
            try await seen.follow("talk", backend) { $0.text(.stdout) == "ä" && $0.text(.stderr) == "warned\n" }
            #expect(seen.run == nil)
            _ = FileManager.default.createFile(atPath: gate, contents: nil)
            try await seen.follow("talk", backend) { $0.run != nil }
            #expect(seen.run?.result.data == "5")
            #expect(seen.run?.result.stdout == "ä and on\n")
        }
    }

    /// One who comes later sees the same, and the agent sends it once for all of them.
    @Test func manyWatchersSeeTheSame() async throws {
        try await withAgent { backend, plugin, folder in
            let gate = folder.path("gate")
            try await create("talk", "talk", #"{"gate": "\#(gate)"}"#, backend, plugin)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        // Some come when it has begun to print.
                        if number % 2 == 0 { try await Task.sleep(for: .milliseconds(300)) }
                        var seen = Seen()
                        try await seen.follow("talk", backend) { $0.text(.stdout) == "ä" }
                    }
                }
                try await group.waitForAll()
            }
            _ = FileManager.default.createFile(atPath: gate, contents: nil)
            _ = try await backend.waitForRuns(ofTask: "talk")
        }
    }

    @Test func muchComesInOrderAndOnce() async throws {
        try await withAgent { backend, plugin, _ in
            try await create("much", "much", "{}", backend, plugin)
            var seen = Seen()
            try await seen.follow("much", backend) { $0.run != nil }
            let whole = seen.run?.result.stdout ?? ""
            #expect(whole.hasSuffix("line 19999\n"))
            #expect(seen.text(.stdout).utf8.count > 16 << 10)
            #expect(whole.hasPrefix(seen.text(.stdout)))
        }
    }

    /// What it had printed by then comes first; nobody watched when it began.
    @Test(arguments: ["in-process", "sandbox"])
    func whoComesLateSeesItAll(_ isolation: String) async throws {
        try await withAgent(isolation: isolation) { backend, plugin, folder in
            let gate = folder.path("gate")
            try await backend.addTask(
                id: "talk", command: "\(plugin).talk", arguments: #"{"gate": "\#(gate)"}"#)
            try await eventually("it is under way") { try await !backend.service.runsInProgress().isEmpty }
            var seen = Seen()
            try await seen.follow("talk", backend) { $0.text(.stdout) == "ä" && $0.text(.stderr) == "warned\n" }
            _ = FileManager.default.createFile(atPath: gate, contents: nil)
            try await seen.follow("talk", backend) { $0.run != nil }
            #expect(seen.run?.result.stdout == "ä and on\n")
        }
    }

    /// What nobody watches is not told of.
    @Test func whatNobodyWatchesCostsNoRequest() async throws {
        try await withAgent { backend, plugin, _ in
            for number in 0..<20 {
                try await backend.addTask(id: "quiet-\(number)", command: "\(plugin).fast")
                _ = try await backend.waitForRuns(ofTask: "quiet-\(number)")
            }
            let agent = try await backend.localAgentID()
            await #expect(throws: ReferenceBackendError.notFound(.run, id: "any")) {
                _ = try await backend.service.take(
                    RunOutput(taskID: "quiet-0", chunks: []), ofRun: "any", from: agent)
            }
            #expect(try await backend.service.runsInProgress().isEmpty)
        }
    }

    /// Once the last follower has gone the agent is told with the next piece, and sends no more.
    @Test func whatNobodyFollowsAnyMoreIsNotSent() async throws {
        try await withAgent { backend, plugin, folder in
            try await create("chat", "chat", #"{"gate": "\#(folder.path("gate"))"}"#, backend, plugin)
            var seen = Seen()
            try await seen.follow("chat", backend) { $0.text(.stdout).utf8.count > 100 }
            let agent = try await backend.localAgentID()
            // The watch of a follower that went ends by itself after a while.
            try await eventually("nobody watches") {
                try await backend.service.runRequests(for: agent).watch.isEmpty
            }
            try await eventually("the agent has heard of it") { backend.service.waitingAgents == 1 }
            try await Task.sleep(for: .seconds(3))
            let kept = try await backend.service.followTask("chat", beyond: [:], since: nil, atMost: .zero).chunks
            try await Task.sleep(for: .seconds(3))
            let later = try await backend.service.followTask("chat", beyond: [:], since: nil, atMost: .zero).chunks
            #expect(kept == later)
            // Who comes then sees all of it.
            seen = Seen()
            try await seen.follow("chat", backend) {
                $0.text(.stdout).utf8.count > kept.reduce(0) { $0 + $1.bytes.count }
            }
            _ = FileManager.default.createFile(atPath: folder.path("gate"), contents: nil)
            try await seen.follow("chat", backend) { $0.run != nil }
            #expect(seen.run?.result.stdout?.hasPrefix(seen.text(.stdout)) == true)
        }
    }

    /// The backend that was restarted gets all of it again.
    @Test func aBackendThatIsRestartedInTheMiddleHasItAll() async throws {
        let first = try await LiveBackend.start(port: try ReservedPort.take())
        let plugin = try await first.addPlugin(script: Self.script, functions: ["talk": "talk"])
        let (folder, gates) = (try TemporaryFolder(), try Self.gateFolder())
        let gate = gates.path("gate")
        let output = try await AgentProcess.run(try arguments(first.url, folder, gates)) { process in
            try await eventually("it waits", within: .seconds(60)) { first.service.waitingAgents == 1 }
            try await create("talk", "talk", #"{"gate": "\#(gate)"}"#, first, plugin.id)
            var seen = Seen()
            try await seen.follow("talk", first) { $0.text(.stdout) == "ä" }
            await first.stop()
            let second = try await LiveBackend.start(data: first.folder, port: first.port)
            var again = Seen()
            try await again.follow("talk", second) { $0.text(.stdout) == "ä" }
            _ = FileManager.default.createFile(atPath: gate, contents: nil)
            try await again.follow("talk", second) { $0.run != nil }
            kill(process, SIGTERM)
            await second.stop()
        }
        #expect(output.status == 0, "\(output.stderr)")
    }

    // MARK: What they need

    /// What a follower has seen.
    private struct Seen {
        var bytes: [OutputChunk.Stream: Data] = [:]
        var state: RunView.State?
        var run: StoredRun?

        func text(_ stream: OutputChunk.Stream) -> String { String(decoding: bytes[stream] ?? Data(), as: UTF8.self) }

        mutating func follow(_ task: String, _ backend: LiveBackend, until isEnough: (Seen) -> Bool) async throws {
            let deadline = ContinuousClock.now + .seconds(120)
            while !isEnough(self) {
                try #require(ContinuousClock.now < deadline, "\(self)")
                let view = try await backend.service.followTask(
                    task, beyond: bytes.mapValues(\.count), since: state, atMost: .seconds(5))
                state = view.state
                run = view.run
                for chunk in view.chunks {
                    #expect(chunk.offset == bytes[chunk.stream]?.count ?? 0)
                    bytes[chunk.stream, default: Data()].append(chunk.bytes)
                }
                if run != nil { return }
            }
        }
    }

    private func create(
        _ id: String, _ function: String, _ arguments: String, _ backend: LiveBackend, _ plugin: String
    ) async throws {
        _ = try await backend.service.createTask(
            NewTask(
                id: id, agentID: try await backend.localAgentID(), command: "\(plugin).\(function)",
                arguments: arguments), isWatched: true)
    }

    private func withAgent(
        isolation: String = "in-process", _ body: (LiveBackend, String, TemporaryFolder) async throws -> Void
    ) async throws {
        try await LiveBackend.withLiveBackend { backend in
            let plugin = try await backend.addPlugin(
                script: Self.script, functions: ["talk": "talk", "much": "much", "fast": "fast", "chat": "chat"])
            let (folder, gates) = (try TemporaryFolder(), try Self.gateFolder())
            let output = try await AgentProcess.run(
                try arguments(backend.url, folder, gates, isolation: isolation)
            ) { process in
                try await eventually("it waits", within: .seconds(60)) { backend.service.waitingAgents == 1 }
                try await body(backend, plugin.id, gates)
                kill(process, SIGTERM)
            }
            #expect(output.status == 0, "\(output.stderr)")
        }
    }

    /// Where plugins may look, whichever user they run as.
    private static func gateFolder() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path)
        return folder
    }

    private func arguments(
        _ url: String, _ folder: TemporaryFolder, _ gates: TemporaryFolder, isolation: String = "in-process"
    ) throws -> [String] {
        try """
        [agent]
        server_url = \(url)
        auth = False
        poll_interval = 3600
        shutdown_grace = 0
        isolation = \(isolation)
        plugin_directory = \(folder.path("plugins"))
        state_directory = \(folder.path("state"))
        [sandbox]
        read_paths = \(gates.path)
        """.write(toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        return ["run", "--config", folder.path("config.ini")]
    }
}
