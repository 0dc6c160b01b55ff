import AgentModel
import PluginExecution
import PythonEmbedding
import Testing

@Suite struct ExecutorTests {
    private static let script = """
        \(Gates.script)
        import sys
        class Plugin:
            inside = 0
            most = 0
            def __init__(self): self.log = []
            def echo(self, value): return value
            def greet(self): print("Hello!")
            def fail(self): raise ValueError("no good")
            def leave(self): sys.exit(4)
            def bad(self): return object()
            def count(self, rounds):
                Plugin.inside += 1
                Plugin.most = max(Plugin.most, Plugin.inside)
                for _ in range(rounds): len([])
                Plugin.inside -= 1
                return Plugin.most
            def meet(self, mine, other):
                gate(mine).set()
                return gate(other).wait(60)
            def wait(self, name): return gate(name).wait(60)
            def open(self, name): gate(name).set()
            def append(self, number): self.log.append(number)
            def read(self): return self.log
        """

    struct OutcomeCase: Sendable, CustomTestStringConvertible {
        let function: String
        var arguments = "{}"
        let status: RunStatus
        var data: String?
        var code: String?
        var message = ""
        var testDescription: String { "\(function) \(arguments)" }
    }

    @Test(
        arguments: [
            OutcomeCase(function: "echo", arguments: #"{"value": "x"}"#, status: .succeeded, data: "x"),
            OutcomeCase(function: "echo", arguments: #"{"value": [1]}"#, status: .succeeded, data: "[1]"),
            OutcomeCase(function: "echo", arguments: #"{"value": null}"#, status: .succeeded),
            OutcomeCase(function: "greet", status: .succeeded, data: "Hello!\n"),
            OutcomeCase(function: "fail", status: .failed, code: "plugin.exception", message: "no good"),
            OutcomeCase(function: "leave", status: .failed, code: "plugin.exit", message: "sys.exit(4)"),
            OutcomeCase(function: "bad", status: .failed, code: "plugin.result_not_json", message: "object"),
            OutcomeCase(function: "nothing", status: .rejected, code: "plugin.function_missing"),
            OutcomeCase(function: "inside", status: .rejected, code: "plugin.function_not_callable", message: "int"),
            OutcomeCase(function: "echo", status: .rejected, code: "task.argument_mismatch", message: "value"),
            OutcomeCase(function: "echo", arguments: "[]", status: .rejected, code: "task.invalid_arguments"),
        ], Tier.allCases)
    func outcome(_ testCase: OutcomeCase, _ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 1)
        try await fixture.load(Self.script)
        let outcome = await fixture.execute(testCase.function, testCase.arguments)
        #expect(outcome.status == testCase.status)
        #expect(outcome.data == testCase.data)
        #expect(outcome.error?.code == testCase.code)
        #expect(testCase.message.isEmpty || outcome.error?.message.contains(testCase.message) == true)
        #expect(outcome.isolation.text == tier.rawValue)
        #expect(outcome.finishedAt >= outcome.startedAt)
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func notLoaded(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        #expect(await fixture.execute("echo").error?.code == "plugin.not_loaded")
        #expect(await fixture.executor.missingFunctions(among: ["echo"], of: fixture.id) == ["echo"])
        #expect(await fixture.executor.unload(fixture.id) == nil)
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func missingFunctions(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let functions = ["echo", "nothing", "inside", "greet"]
        #expect(await fixture.executor.missingFunctions(among: functions, of: fixture.id) == ["nothing", "inside"])
        await fixture.executor.shutDown()
    }

    struct LoadFailureCase: Sendable, CustomTestStringConvertible {
        let script: String
        let code: String
        let part: String
        var testDescription: String { "\(code): \(script)" }
    }

    @Test(
        arguments: [
            LoadFailureCase(script: "class Plugin", code: "plugin.syntax_error", part: "can compile"),
            LoadFailureCase(script: "raise ValueError('top')", code: "plugin.script_failed", part: "top"),
            LoadFailureCase(script: "x = 1", code: "plugin.class_missing", part: "no class"),
            LoadFailureCase(
                script: "class Plugin:\n    def __init__(self): 1 / 0", code: "plugin.constructor_failed",
                part: "division"),
            LoadFailureCase(script: "while True: pass", code: "plugin.load_timed_out", part: "TimeLimitExceeded"),
            LoadFailureCase(
                script: "class Plugin:\n    def __init__(self):\n        while True: pass",
                code: "plugin.load_timed_out", part: "TimeLimitExceeded"),
        ], Tier.allCases)
    func loadFailure(_ testCase: LoadFailureCase, _ tier: Tier) async throws {
        let (script, code, part) = (testCase.script, testCase.code, testCase.part)
        let fixture = try ExecutorFixture(tier, workers: 1)
        // Short only where it must pass: on a busy machine any loading may take that long.
        let limit: Duration = code == "plugin.load_timed_out" ? .milliseconds(200) : .seconds(60)
        let error = await #expect(throws: PluginExecutionError.self) {
            try await fixture.load(script, timeLimit: limit)
        }
        #expect(error?.code == code)
        #expect(error?.message.contains(part) == true)
        #expect(await fixture.execute("run").error?.code == "plugin.not_loaded")
        // The worker goes on, and so does the version that was there.
        try await fixture.load(Self.script)
        _ = await #expect(throws: PluginExecutionError.self) {
            try await fixture.load(script, timeLimit: limit)
        }
        #expect(await fixture.execute("echo", #"{"value": 1}"#).data == "1")
        await fixture.executor.shutDown()
    }

    // MARK: Turns

    @Test(arguments: [1, 2], Tier.allCases)
    func atMostSoManyCallsOfOnePlugin(_ concurrency: Int, _ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 4)
        try await fixture.load(Self.script, concurrency: concurrency)
        let most = await withTaskGroup(of: String?.self) { group in
            // Long enough for CPython to give the GIL to another thread in between.
            for _ in 0..<40 { group.addTask { await fixture.execute("count", #"{"rounds": 100000}"#).data } }
            return await group.reduce(into: 0) { most, text in most = max(most, text.flatMap { Int($0) } ?? 99) }
        }
        #expect(most <= concurrency)
        await fixture.executor.shutDown()
    }

    /// Each waits until the other is inside.
    @Test(arguments: Tier.allCases)
    func twoCallsOfOnePluginMeet(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script, concurrency: 2)
        async let one = fixture.execute("meet", #"{"mine": "c1", "other": "c2"}"#)
        async let two = fixture.execute("meet", #"{"mine": "c2", "other": "c1"}"#)
        #expect(await [one.data, two.data] == ["true", "true"])
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func callsOfTwoPluginsMeet(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        let other = try PluginID("other")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: other)
        async let one = fixture.execute("meet", #"{"mine": "p1", "other": "p2"}"#)
        async let two = fixture.execute("meet", #"{"mine": "p2", "other": "p1"}"#, of: other)
        #expect(await [one.data, two.data] == ["true", "true"])
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func tenThousandCallers(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 4)
        let ids = try (0..<4).map { try PluginID("many-\($0)") }
        for id in ids { try await fixture.load(Self.script, id: id) }
        let wrong = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<10_000 {
                group.addTask {
                    let outcome = await fixture.execute("echo", "{\"value\": \(number)}", of: ids[number % 4])
                    return outcome.status == .succeeded && outcome.data == "\(number)"
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 0 : 1 }
        }
        #expect(wrong == 0)
        await fixture.executor.shutDown()
    }

    // MARK: Replacing, unloading, shutting down

    private static func version(_ number: Int) -> String {
        """
        \(Gates.script)
        class Plugin:
            def hold(self):
                gate("inside").set()
                gate("on").wait(60)
                return "\(number)"
            def run(self): return "\(number)"
            def shutdown(self):
                gate("shutdown \(number)").set()
        """
    }

    /// The call in flight finishes on the old version; those that wait run on the new one; loading doesn't wait.
    @Test(arguments: Tier.allCases)
    func replacedWhileCallsWait(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 3)
        let helper = try PluginID("replacing-gates")
        try await fixture.load(Self.script, id: helper)
        try await fixture.load(Self.version(1))
        async let held = fixture.execute("hold")
        _ = await fixture.execute("wait", #"{"name": "inside"}"#, of: helper)
        async let waiting = fixture.execute("run")
        try await fixture.load(Self.version(2))
        _ = await fixture.execute("open", #"{"name": "on"}"#, of: helper)
        #expect(await held.data == "1")
        #expect(await waiting.data == "2")
        #expect(await fixture.execute("wait", #"{"name": "shutdown 1"}"#, of: helper).data == "true")
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func unloadWaitsForTheCallInFlight(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 3)
        let helper = try PluginID("unloading-gates")
        let script = """
            \(Gates.script)
            class Plugin:
                done = False
                def hold(self):
                    gate("held").set()
                    gate("let go").wait(60)
                    Plugin.done = True
                def shutdown(self):
                    assert Plugin.done, "a call was in flight"
            """
        try await fixture.load(Self.script, id: helper)
        try await fixture.load(script, concurrency: 2)
        async let held = fixture.execute("hold")
        _ = await fixture.execute("wait", #"{"name": "held"}"#, of: helper)
        async let error = fixture.executor.unload(fixture.id)
        _ = await fixture.execute("open", #"{"name": "let go"}"#, of: helper)
        #expect(await held.status == .succeeded)
        #expect(await error == nil)
        #expect(await fixture.execute("hold").error?.code == "plugin.not_loaded")
        await fixture.executor.shutDown()
    }

    @Test(
        arguments: [
            ("raise ValueError('closing')", "plugin.shutdown_failed", 60_000),
            ("while True: pass", "plugin.shutdown_timed_out", 50),
        ], Tier.allCases)
    func shutdownThatFails(_ failure: (body: String, code: String, limit: Int), _ tier: Tier) async throws {
        let (body, code, limit) = failure
        let fixture = try ExecutorFixture(tier, shutdownLimit: .milliseconds(limit))
        try await fixture.load("class Plugin:\n    def shutdown(self):\n        \(body)")
        #expect(await fixture.executor.unload(fixture.id)?.code == code)
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func afterShutDown(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        await fixture.executor.shutDown()
        #expect(await fixture.execute("echo", #"{"value": 1}"#).error?.code == "executor.stopped")
        let error = await #expect(throws: PluginExecutionError.self) { try await fixture.load(Self.script) }
        #expect(error?.code == "executor.stopped")
        await fixture.executor.shutDown()
    }

    /// The workers and the watchdog end with the executor. What the sandbox leaves: SandboxSurvivorTests.
    @Test func threadsEnd() async {
        await #expect(processExitsWith: .success) {
            let idle = try threadCount()
            for _ in 0..<5 {
                let fixture = try ExecutorFixture(.inProcess, workers: 3)
                try await fixture.load(Self.script, timeLimit: .seconds(60))
                _ = await fixture.execute("greet")
                await fixture.executor.shutDown()
            }
            // Threads of Python and of the cooperative pool came as well.
            let python = try PythonInterpreter.start()
            var count = try threadCount()
            for _ in 0..<100_000 where count > idle {
                await python.perform { _ in }
                count = try threadCount()
            }
            #expect(count <= idle)
        }
    }
}
