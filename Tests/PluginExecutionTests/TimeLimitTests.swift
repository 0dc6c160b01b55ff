import AgentModel
import Foundation
import PluginExecution
import PythonEmbedding
import Testing
import Threads

/// The ladder: asked, injected, thread given up, process ended. No step is timed; each outcome is waited for.
@Suite(.serialized) struct TimeLimitTests {
    private static let script = """
        \(Gates.script)
        import os, re, signal, time
        from runbooksolutions.agent import stop_requested, TimeLimitExceeded
        class Plugin:
            def __init__(self, api): self.api = api
            def polite(self):
                while not self.api.stop_requested: time.sleep(0.001)
                print("asked")
                return "stopped early"
            def polite_function(self):
                while not stop_requested(): pass
            def spin(self):
                print("before")
                while True: pass
            def sleep(self): time.sleep(1)
            def swallow(self, name):
                while not gate(name).is_set():
                    # In a function: CPython 3.11 has jumps in a `try` that an exception goes past.
                    try: self.loop(name)
                    except BaseException: pass
                return "swallowed"
            def say_and_swallow(self, name, begun):
                gate(begun).set()
                return self.swallow(name)
            def loop(self, name):
                while not gate(name).is_set(): pass
            def clean_up(self):
                try: self.spin()
                except TimeLimitExceeded:
                    return "cleaned up"
            def expression(self):
                # Each holds the GIL for a while; some of them end after the limit.
                while not stop_requested(): re.match("(a+)+$", "a" * 20 + "b")
            def fast(self): return 1
            def remember(self): self.seen = True
            def recall(self): return hasattr(self, "seen")
            def wait(self, name): return gate(name).wait()
            def stopped(self):
                os.kill(os.getpid(), signal.SIGSTOP)
                while True: signal.pause()
            def open(self, name): gate(name).set()
            def wedge(self): return sum(range(10 ** 12))
        """

    struct StepCase: Sendable, CustomTestStringConvertible {
        let function: String
        /// One of them: a long sleep or expression ends where it ends.
        let steps: [StopStep]
        var data: String?
        var stdout = ""
        var hasTraceback = false
        var askGrace: Duration = .milliseconds(50)
        var testDescription: String { function }
    }

    @Test(
        arguments: [
            StepCase(
                function: "polite", steps: [.asked], data: "stopped early", stdout: "asked\n", askGrace: .seconds(60)),
            StepCase(function: "polite_function", steps: [.asked], askGrace: .seconds(60)),
            StepCase(function: "spin", steps: [.injected], stdout: "before\n", hasTraceback: true),
            StepCase(function: "sleep", steps: [.injected, .asked]),
            StepCase(function: "clean_up", steps: [.injected], data: "cleaned up", stdout: "before\n"),
            StepCase(function: "expression", steps: [.injected, .asked]),
        ], Tier.allCases)
    func step(_ testCase: StepCase, _ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 1, askGrace: testCase.askGrace)
        try await fixture.load(Self.script)
        // Long enough for the method to be inside on a busy machine.
        let outcome = await fixture.execute(testCase.function, timeLimit: .milliseconds(500))
        #expect(outcome.status == .timedOut)
        #expect(outcome.error?.code == "task.timed_out")
        let message = try #require(outcome.error?.message)
        #expect(testCase.steps.contains { message.contains("(\($0.rawValue))") }, "\(message)")
        #expect(message.contains("0.5 s"))
        #expect(outcome.data == testCase.data || testCase.data == nil, "\(outcome)")
        #expect(outcome.stdout == testCase.stdout)
        if testCase.hasTraceback { #expect(outcome.error?.traceback?.contains("while True: pass") == true) }
        // The same worker goes on, or the same process.
        #expect(await fixture.execute("fast").data == "1")
        await fixture.executor.shutDown()
    }

    /// Calls until one was given up: on a busy machine an injected exception may come before the method's first line,
    /// and that ends it.
    private static func abandon(_ fixture: ExecutorFixture, gate: String) async -> Outcome {
        while true {
            let outcome = await fixture.execute("swallow", "{\"name\": \"\(gate)\"}", timeLimit: .milliseconds(20))
            #expect(outcome.status == .timedOut)
            if outcome.error?.message.contains("(thread_abandoned)") == true { return outcome }
        }
    }

    @Test func threadThatCannotBeStoppedIsGivenUp() async throws {
        let fixture = try ExecutorFixture(.inProcess, workers: 1, injectGrace: .milliseconds(50))
        let helper = try PluginID("limit-gates")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: helper)
        let outcome = await Self.abandon(fixture, gate: "given up")
        #expect(outcome.duration >= .milliseconds(20))
        // Another thread has taken its place, for this plugin as well.
        #expect(await fixture.execute("fast").data == "1")
        _ = await fixture.execute("open", #"{"name": "given up"}"#, of: helper)
        await fixture.executor.shutDown()
    }

    @Test func stuckAfterThree() async throws {
        let fixture = try ExecutorFixture(.inProcess, workers: 2, injectGrace: .milliseconds(20))
        let helper = try PluginID("stuck-gates")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: helper)
        for _ in 0..<3 { _ = await Self.abandon(fixture, gate: "stuck") }
        let refused = await fixture.execute("fast")
        #expect(refused.status == .rejected)
        #expect(refused.error?.code == "plugin.stuck")
        #expect(await fixture.execute("fast", of: helper).data == "1")
        // When they end after all, the plugin gets its turns back.
        _ = await fixture.execute("open", #"{"name": "stuck"}"#, of: helper)
        var outcome = await fixture.execute("fast")
        while outcome.error?.code == "plugin.stuck" { outcome = await fixture.execute("fast") }
        #expect(outcome.data == "1")
        await fixture.executor.shutDown()
    }

    @Test func stuckPluginIsUnloadedWithoutItsShutdown() async throws {
        let fixture = try ExecutorFixture(.inProcess, workers: 2, injectGrace: .milliseconds(20))
        let helper = try PluginID("stuck-unload-gates")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: helper)
        for _ in 0..<3 { _ = await Self.abandon(fixture, gate: "leave") }
        #expect(await fixture.executor.unload(fixture.id)?.code == "plugin.stuck")
        _ = await fixture.execute("open", #"{"name": "leave"}"#, of: helper)
        await fixture.executor.shutDown()
    }

    /// Calls that end at about the moment of the injection: it must hit that call or none.
    @Test(arguments: Tier.allCases)
    func injectedExceptionNeverHitsTheNextCall(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 1, askGrace: .microseconds(1))
        let script = """
            class Plugin:
                def limited(self, rounds):
                    for _ in range(rounds): pass
                def innocent(self):
                    for _ in range(200): len([])
                    return "well"
            """
        try await fixture.load(script)
        // The length follows the outcomes, so that it stays about the limit however fast the machine is.
        var rounds = 1000.0
        var stopped = 0
        var ended = 0
        while stopped < 100 || ended < 100 {
            async let limited = fixture.execute(
                "limited", "{\"rounds\": \(Int(rounds))}", timeLimit: .microseconds(1000))
            async let innocent = fixture.execute("innocent")
            #expect(await innocent.data == "well")
            if await limited.status == .timedOut {
                stopped += 1
                rounds = max(1, rounds * 0.9)
            } else {
                ended += 1
                rounds *= 1.1
            }
        }
        await fixture.executor.shutDown()
    }

    @Test func loadThatCannotBeStoppedLeavesNothing() async throws {
        let fixture = try ExecutorFixture(.inProcess, workers: 2, injectGrace: .milliseconds(20))
        let helper = try PluginID("load-gates")
        try await fixture.load(Self.script, id: helper)
        let script = """
            \(Gates.script)
            def loop():
                while not gate("load").is_set(): pass
            while not gate("load").is_set():
                try: loop()
                except BaseException: pass
            class Plugin:
                def run(self): return "late"
            """
        let late = try PluginID("late-load")
        let error = await #expect(throws: PluginExecutionError.self) {
            try await fixture.load(script, id: late, timeLimit: .milliseconds(20))
        }
        #expect(error?.code == "plugin.load_timed_out")
        _ = await fixture.execute("open", #"{"name": "load"}"#, of: helper)
        let probe = """
            import sys
            class Plugin:
                def run(self): return "runbook_plugin_late_2d_load" in sys.modules
            """
        try await fixture.load(probe)
        var outcome = await fixture.execute("run")
        while outcome.data == "true" { outcome = await fixture.execute("run") }
        #expect(outcome.data == "false")
        #expect(await fixture.execute("run", of: late).error?.code == "plugin.not_loaded")
        await fixture.executor.shutDown()
    }

    /// The GIL is held for ever: everything that runs is reported before the process ends.
    @Test func heldInterpreterEndsTheProcess() async {
        await #expect(processExitsWith: .exitCode(75)) {
            let reported = BlockingQueue<Outcome>()
            let fixture = try ExecutorFixture(
                .inProcess, workers: 2, askGrace: .milliseconds(20), injectGrace: .milliseconds(20),
                interpreterGrace: .milliseconds(200)
            ) {
                // Not from the cooperative pool: this is the watchdog's thread.
                let outcomes = [reported.pop(), reported.pop()]
                // The one past its limit is told so; the other is not to blame, and hears who is.
                let message = "(\(StopStep.processEnded.rawValue))"
                guard
                    outcomes.contains(where: {
                        $0.status == .timedOut && $0.error?.message.contains(message) == true
                    })
                else { exit(1) }
                guard
                    outcomes.contains(where: {
                        $0.status == .interrupted && $0.error?.code == "run.interrupted"
                    })
                else { exit(2) }
                exit(75)
            }
            let other = try PluginID("other")
            try await fixture.load(Self.script)
            try await fixture.load(Self.script, id: other)
            await withTaskGroup(of: Void.self) { group in
                let arguments = #"{"name": "x", "begun": "begun"}"#
                group.addTask { reported.push(await fixture.execute("say_and_swallow", arguments, of: other)) }
                // What has not begun when the interpreter is lost is taken back.
                _ = await fixture.execute("wait", #"{"name": "begun"}"#)
                group.addTask { reported.push(await fixture.execute("wedge", timeLimit: .milliseconds(500))) }
                await group.waitForAll()
            }
            // Until the watchdog ends it.
            let never = AsyncStream<Void>.makeStream()
            for await _ in never.stream {}
            never.continuation.finish()
        }
    }

    // MARK: The same in the sandbox, where there is a process to end instead of a thread to give up

    @Test(arguments: ["swallow", "wedge", "stopped"])
    func callThatCannotBeStoppedEndsItsProcess(_ function: String) async throws {
        let fixture = try ExecutorFixture(.sandbox, workers: 2, injectGrace: .milliseconds(50))
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: other)
        async let beside = fixture.execute("wait", #"{"name": "on"}"#, of: other)
        _ = await fixture.execute("remember")
        // On a busy machine an injected exception may come before the method's first line, and that ends it.
        var outcome: Outcome
        repeat {
            _ = await fixture.execute("remember")
            let arguments = function == "swallow" ? #"{"name": "never"}"# : "{}"
            outcome = await fixture.execute(function, arguments, timeLimit: .milliseconds(200))
            #expect(outcome.status == .timedOut)
            #expect(outcome.error?.code == "task.timed_out")
        } while outcome.error?.message.contains("(child_ended)") != true
        // The next call has another process, whose plugin remembers nothing.
        #expect(await fixture.execute("recall").data == "false")
        fixture.open("on")
        #expect(await beside.data == "true")
        await fixture.executor.shutDown()
    }

    @Test func loadThatCannotBeStoppedEndsItsProcess() async throws {
        let fixture = try ExecutorFixture(.sandbox, workers: 1, injectGrace: .milliseconds(20))
        let error = await #expect(throws: PluginExecutionError.self) {
            try await fixture.load("sum(range(10 ** 12))", timeLimit: .milliseconds(20))
        }
        #expect(error?.code == "plugin.load_timed_out")
        try await fixture.load(Self.script)
        #expect(await fixture.execute("fast").data == "1")
        await fixture.executor.shutDown()
    }
}
