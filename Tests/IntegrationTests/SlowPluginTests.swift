import Agent
import AgentModel
import AgentTestSupport
import Foundation
import Testing

/// A plugin that is slow to come keeps no other, and no task of another, from its turn.
@Suite struct SlowPluginTests {
    /// Its top level returns when there is a file.
    private static func gated(_ gate: String) -> String {
        """
        import os, time
        while not os.path.exists(\(JSONValue.string(gate).text)): time.sleep(0.005)
        class Plugin:
            def answer(self): return "at last"
        """
    }

    private static func task(_ id: String, _ command: String) -> String {
        #"{"id": "\#(id)", "command": "\#(command)", "cron": null, "arguments": "{}"}"#
    }

    /// Runs the agent's services beside a body, until that has returned.
    private func withRunning(_ agent: TestAgent, _ body: @escaping @Sendable () async throws -> Void) async throws {
        let runtime = agent.runtime
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try? await runtime.dispatcher.run() }
            group.addTask { try? await runtime.reporter.run() }
            group.addTask { try? await runtime.synchronizer.run() }
            defer { group.cancelAll() }
            try await body()
        }
        await runtime.close()
    }

    @Test func aSlowTopLevelHoldsBackItsOwnTasksAlone() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let gate = folder.path("gate")
        backend.listPlugin(#""slow""#)
        backend.addPlugin("slow", script: Self.gated(gate), functions: ["answer"])
        backend.addTask(Self.task("patient", "slow.answer"))
        backend.addTask(Self.task("withdrawn", "slow.answer"))
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)
        try await withRunning(agent) {
            try await eventually("the good task's result") { try backend.results(of: "good").count == 1 }
            try await eventually("the wait") {
                await agent.runtime.dispatcher.waitingTasks() == ["patient", "withdrawn"]
            }
            // New work and withdrawals come through meanwhile.
            backend.addTask(Self.task("later", "good-plugin.hello"))
            backend.removeTask("withdrawn")
            agent.runtime.synchronizer.wake()
            try await eventually("the later task's result") { try backend.results(of: "later").count == 1 }
            #expect(await agent.runtime.dispatcher.waitingTasks() == ["patient"])
            #expect(try backend.results(of: "patient").isEmpty)
            #expect(FileManager.default.createFile(atPath: gate, contents: nil))
            try await eventually("the patient task's result") { try backend.results(of: "patient").count == 1 }
        }
        #expect(try backend.results(of: "patient").map(\.data) == ["at last"])
        #expect(try backend.results(of: "withdrawn").isEmpty)
    }

    @Test func aFetchThatHangsHoldsBackItsOwnTasksAlone() async throws {
        let backend = try ScriptedBackend()
        backend.listPlugin(#""slow""#)
        backend.server.route("/api/agent/plugin/slow", .silence)
        backend.addTask(Self.task("patient", "slow.answer"))
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: TemporaryFolder())
        try await withRunning(agent) {
            await backend.server.request(to: "/api/agent/plugin/slow")
            try await eventually("the good task's result") { try backend.results(of: "good").count == 1 }
            backend.addTask(Self.task("later", "good-plugin.hello"))
            agent.runtime.synchronizer.wake()
            try await eventually("the later task's result") { try backend.results(of: "later").count == 1 }
            #expect(await agent.runtime.dispatcher.waitingTasks() == ["patient"])
        }
        #expect(try backend.results(of: "patient").isEmpty)
        #expect(backend.server.requests.count { $0.target == "/api/agent/plugin/slow" } == 1)
    }

    /// A name without an id in front belongs to nobody until all have said what they provide.
    @Test func aSharedNameIsNotResolvedWhileAnotherMayClaimIt() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let gate = folder.path("gate")
        for id in ["one", "two"] {
            let script = id == "one" ? BadInputTests.answer : Self.gated(gate)
            backend.addPlugin(id, script: script, functions: []) {
                $0["commands"] = ["shared": ["id": "x", "name": "shared", "function": "answer"]]
            }
        }
        backend.addTask(Self.task("shared", "shared"))
        backend.addTask(Self.task("unknown", "nobody.knows"))
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)
        try await withRunning(agent) {
            try await eventually("the plugin") {
                if case .loaded? = await agent.runtime.catalog.state(of: try PluginID("one")) { true } else { false }
            }
            try await eventually("the good task's result") { try backend.results(of: "good").count == 1 }
            #expect(try backend.results(of: "shared").isEmpty)
            #expect(FileManager.default.createFile(atPath: gate, contents: nil))
            try await eventually("the results") {
                try backend.results(of: "shared").count == 1 && backend.results(of: "unknown").count == 1
            }
        }
        #expect(try backend.results(of: "shared").map(\.error?.code) == ["command.ambiguous"])
        #expect(try backend.results(of: "unknown").map(\.error?.code) == ["task.unknown_command"])
    }

    private static func commands(_ names: String...) -> (inout [String: JSONValue]) -> Void {
        { document in
            document["commands"] = .object(
                Dictionary(
                    uniqueKeysWithValues: names.map {
                        ($0, ["id": "x", "name": .string($0), "function": "answer"])
                    }))
        }
    }

    /// Sixteen of them kept the others from being fetched, and their commands from being run.
    @Test func pluginsThatHangHoldBackNoHealthyOne() async throws {
        let backend = try ScriptedBackend()
        for number in 0..<16 {
            backend.listPlugin(#""hanging\#(number)""#)
            backend.server.route("/api/agent/plugin/hanging\(number)", .silence)
        }
        backend.addPlugin(
            "healthy", script: BadInputTests.answer, functions: [], change: Self.commands("plain"))
        backend.addTask(Self.task("plain", "plain"))
        backend.addTask(Self.task("unknown", "nobody.knows"))
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: TemporaryFolder(), settings: ["request_timeout": "3600"])
        try await withRunning(agent) {
            try await eventually("the plain command's result") { try backend.results(of: "plain").count == 1 }
            // One of those that hang may provide it.
            #expect(await agent.runtime.dispatcher.waitingTasks() == ["unknown"])
        }
    }

    @Test func aPluginThatClaimedTheNameBeforeIsWaitedFor() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        backend.addPlugin("two", script: BadInputTests.answer, functions: [], change: Self.commands("shared"))
        backend.addTask(Self.task("first", "shared"))
        backend.server.route("/api/agent/task/first", .json("{}", status: 201))
        try await TestAgent.once(serverURL: backend.server.url, folder: folder)
        #expect(try backend.results(of: "first").map(\.status) == [.succeeded])

        // In its next life the agent has to fetch it again, and can't.
        try FileManager.default.removeItem(atPath: folder.path("plugins/two.json"))
        backend.server.route("/api/agent/plugin/two", .silence)
        backend.addPlugin(
            "one", script: BadInputTests.answer, functions: [], change: Self.commands("shared", "own"))
        backend.addTask(Self.task("second", "shared"))
        backend.addTask(Self.task("own", "own"))
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, settings: ["request_timeout": "3600"])
        try await withRunning(agent) {
            try await eventually("the result of its own command") { try backend.results(of: "own").count == 1 }
            try await eventually("the shared one's wait") {
                await agent.runtime.dispatcher.waitingTasks() == ["second"]
            }
        }
        #expect(try backend.results(of: "second").isEmpty)
    }

    @Test func aPluginTakenOffTheListWhileItIsLoadedIsGone() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let gate = folder.path("gate")
        backend.addPlugin("slow", script: Self.gated(gate), functions: ["answer"])
        backend.addTask(Self.task("patient", "slow.answer"))
        let agent = try await TestAgent.start(serverURL: backend.server.url, folder: folder)
        let slow = try PluginID("slow")
        try await withRunning(agent) {
            try await eventually("the wait") { await agent.runtime.dispatcher.waitingTasks() == ["patient"] }
            backend.server.route(
                "/api/agent",
                .json(#"{"data": {"id": "a", "name": "A", "team_id": "t", "plugins": ["good-plugin"]}}"#))
            agent.runtime.synchronizer.wake()
            try await eventually("the rejection") { try backend.results(of: "patient").count == 1 }
            #expect(FileManager.default.createFile(atPath: gate, contents: nil))
            try await eventually("the end of its files") {
                !FileManager.default.fileExists(atPath: folder.path("plugins/slow.json"))
            }
            #expect(await agent.runtime.catalog.state(of: slow) == nil)
        }
        #expect(try backend.results(of: "patient").map(\.error?.code) == ["task.unknown_command"])
    }

    @Test func onceWaitsForAllThatIsDue() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let script = """
            import time
            time.sleep(0.3)
            class Plugin:
                def answer(self): return "at last"
            """
        for number in 0..<6 {
            backend.addPlugin("slow\(number)", script: script, functions: ["answer"])
            backend.addTask(Self.task("task\(number)", "slow\(number).answer"))
        }
        let report = try await TestAgent.once(serverURL: backend.server.url, folder: folder).report
        #expect(report.isGood)
        #expect(report.tally.succeeded == 7)
    }

    /// Each try takes a worker for as long as the limit.
    @Test func whatDoesNotLoadInTimeIsTriedAgainWithGrowingPauses() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let file = folder.path("loads")
        let script = """
            import time
            with open(\(JSONValue.string(file).text), "a") as loads: loads.write("x")
            while True: time.sleep(0.005)
            """
        backend.addPlugin("slow", script: script, functions: ["answer"])
        backend.addTask(Self.task("bad", "slow.answer"))
        let clock = ManualClock("2026-11-23T21:07:30Z")
        let agent = try await TestAgent.start(
            serverURL: backend.server.url, folder: folder, settings: ["task_timeout": "0.1"], clock: clock)
        var loads: [Int] = []
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await agent.runtime.dispatcher.run() }
            for seconds in [0, 59, 2, 61, 60] {
                clock.advance(by: TimeInterval(seconds))
                await agent.runtime.synchronizer.synchronize()
                loads.append((try? String(contentsOfFile: file, encoding: .utf8).count) ?? 0)
            }
            await agent.runtime.dispatcher.idle()
            await agent.runtime.reporter.deliverDue()
            group.cancelAll()
        }
        await agent.runtime.close()
        #expect(loads == [1, 1, 2, 2, 3])
        #expect(try backend.results(of: "bad").map(\.error?.code) == ["plugin.load_timed_out"])
    }
}
