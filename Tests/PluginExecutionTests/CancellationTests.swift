import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import Testing

/// A run that somebody cancels goes through the steps of a time limit, in both tiers.
@Suite(.serialized) struct CancellationTests {
    private static let script = """
        \(Gates.script)
        import time
        from runbooksolutions.agent import stop_requested
        class Plugin:
            def polite(self):
                gate("begun").set()
                while not stop_requested(): time.sleep(0.001)
                return "stopped early"
            def spin(self):
                gate("begun").set()
                while True: pass
            def stubborn(self):
                gate("begun").set()
                # It ends with the test: it has the interpreter in common with all others.
                while not gate("end").is_set():
                    try: self.loop()
                    except BaseException: pass
            def loop(self):
                while not gate("end").is_set(): pass
            def wait(self, name):
                gate("begun").set()
                return gate(name).wait()
            def fast(self): return 1
        """

    private static let wish = Cancellation.Request(by: "ada", reason: "wrong host")

    struct Case: Sendable, CustomTestStringConvertible {
        let tier: Tier
        let function: String
        let step: String
        var testDescription: String { "\(tier) \(function)" }
    }

    private static let cases = Tier.allCases.flatMap { tier in
        [
            Case(tier: tier, function: "polite", step: "asked"), Case(tier: tier, function: "spin", step: "injected"),
            Case(
                tier: tier, function: "stubborn", step: tier == .inProcess ? "thread_abandoned" : "child_ended"),
        ]
    }

    @Test(arguments: cases)
    func whatRunsIsStopped(_ testCase: Case) async throws {
        let isStubborn = testCase.function == "stubborn"
        // Long where it is to be stopped by that very step, as on a busy machine.
        let fixture = try ExecutorFixture(
            testCase.tier, askGrace: testCase.step == "asked" ? .seconds(60) : .milliseconds(50),
            injectGrace: isStubborn ? .milliseconds(50) : .seconds(60))
        try await fixture.load(Self.script)
        let (outcome, _) = try await cancelled(testCase.function, on: fixture)
        #expect(outcome.status == .cancelled, "\(outcome)")
        #expect(outcome.error?.code == "run.cancelled")
        #expect(
            outcome.error?.message.hasPrefix("the run was cancelled by ada (wrong host): ") == true
                && outcome.error?.message.hasSuffix("(\(testCase.step))") == true, "\(outcome)")
        // The next one runs.
        fixture.open("end")
        #expect(await fixture.execute("fast").data == "1")
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func whatHasEndedKeepsItsResult(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        var invocation = Invocation(pluginID: fixture.id, function: "fast", runID: "run-1")
        let cancellation = Cancellation()
        invocation.cancellation = cancellation
        let outcome = await fixture.executor.execute(invocation)
        cancellation.request(Self.wish)
        fixture.executor.cancel("run-1")
        #expect(outcome.status == .succeeded)
        // Nor does it touch a later run.
        for _ in 0..<20 { #expect(await fixture.execute("fast").status == .succeeded) }
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func whatWaitsForItsTurnDoesNotBegin(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        async let first = fixture.execute("wait", #"{"name": "first"}"#)
        try await eventually("the first has begun") { fixture.isOpen("begun") }
        var invocation = Invocation(pluginID: fixture.id, function: "fast", runID: "run-2")
        let cancellation = Cancellation()
        invocation.cancellation = cancellation
        async let second = fixture.executor.execute(invocation)
        cancellation.request(Self.wish)
        fixture.executor.cancel("run-2")
        fixture.open("first")
        #expect(await first.status == .succeeded)
        #expect(await second.hasBegun == false)
        await fixture.executor.shutDown()
    }

    /// A cancel of one run stops no other of the same plugin.
    @Test(arguments: Tier.allCases)
    func othersGoOn(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script, concurrency: 2)
        async let other = fixture.execute("wait", #"{"name": "other"}"#)
        try await eventually("the other has begun") { fixture.isOpen("begun") }
        let (outcome, _) = try await cancelled("polite", on: fixture)
        #expect(outcome.status == .cancelled)
        fixture.open("other")
        #expect(await other.status == .succeeded)
        await fixture.executor.shutDown()
    }

    private func cancelled(
        _ function: String, on fixture: ExecutorFixture
    ) async throws -> (Outcome, Cancellation) {
        let cancellation = Cancellation()
        var invocation = Invocation(
            pluginID: fixture.id, function: function, timeLimit: .seconds(600), runID: UUID().uuidString)
        invocation.cancellation = cancellation
        async let outcome = fixture.executor.execute(invocation)
        try await eventually("it has begun") { fixture.isOpen("begun") }
        // Where the gate was open already, from another run, the call may not have begun.
        try await Task.sleep(for: .milliseconds(200))
        cancellation.request(Self.wish)
        fixture.executor.cancel(invocation.runID ?? "")
        return (await outcome, cancellation)
    }
}
