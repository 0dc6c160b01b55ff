import AgentModel
import Glibc
import PluginExecution
import PythonEmbedding
import Synchronization
import Testing

/// Calls that wait for their turn, when it doesn't come.
@Suite struct WaitingCallsTests {
    private static let script = """
        \(Gates.script)
        import os
        class Plugin:
            def hold(self, name):
                gate(name + " entered").set()
                gate(name).wait()
            def fast(self): return 1
        """

    private func invocation(
        _ fixture: ExecutorFixture, mayBegin: @escaping @Sendable () -> Bool = { true }
    ) -> Invocation {
        var invocation = Invocation(pluginID: fixture.id, function: "fast")
        invocation.mayBegin = mayBegin
        return invocation
    }

    @Test(arguments: Tier.allCases)
    func whatMayNotBeginAnyMoreSaysThatItHasNotBegun(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 1)
        try await fixture.load(Self.script)
        let outcome = await fixture.executor.execute(invocation(fixture) { false })
        #expect(outcome.status == .interrupted && !outcome.hasBegun)
        let next = await fixture.executor.execute(invocation(fixture))
        #expect(next.data == "1" && next.hasBegun)
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func anExecutorThatStartsNothingLetsWhatRunsFinish(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 2)
        let helper = try PluginID("waiting-gates")
        try await fixture.load(Self.script)
        try await fixture.load(
            """
            \(Gates.script)
            class Plugin:
                def open(self, name): gate(name).set()
                def entered(self, name): gate(name + " entered").wait()
            """, id: helper)
        async let running = fixture.execute("hold", #"{"name": "stop starting"}"#)
        _ = await fixture.execute("entered", #"{"name": "stop starting"}"#, of: helper)
        async let waiting = fixture.execute("fast")
        // Asked for by a call that begins before nothing does.
        async let opened = fixture.executor.execute(
            {
                var invocation = Invocation(
                    pluginID: helper, function: "open", arguments: #"{"name": "stop starting"}"#)
                invocation.mayBegin = { [executor = fixture.executor] in
                    executor.stopStarting()
                    return true
                }
                return invocation
            }())
        #expect(await opened.status == .succeeded)
        #expect(await running.status == .succeeded)
        let outcome = await waiting
        #expect(!outcome.hasBegun && outcome.status == .interrupted)
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func aPluginThatIsNotThereHasNotBegun(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 1)
        let outcome = await fixture.execute("fast")
        #expect(outcome.error?.code == "plugin.not_loaded" && !outcome.hasBegun)
        await fixture.executor.shutDown()
    }

    private static let forkingScript = """
        import os
        class Plugin:
            def fork(self):
                self.reading, writing = os.pipe()
                self.writing = writing
                if os.fork() == 0: raise SystemExit(0)
                os.close(writing)
            def mark(self):
                try: os.write(self.writing, b"x")
                except OSError: return "closed"
            def count(self):
                return len(os.read(self.reading, 100))
        """

    /// Marks that a child of a plugin's made, which comes back from the method as the worker does: it must not work off
    /// what waits beside it.
    private static func marksOfAForkedChild(_ tier: Tier) async throws -> String? {
        let fixture = try ExecutorFixture(tier, workers: 1)
        try await fixture.load(forkingScript)
        async let forked = fixture.execute("fork")
        async let marks = withTaskGroup(of: Outcome.self) { group in
            for _ in 0..<20 { group.addTask { await fixture.execute("mark") } }
            return await group.reduce(into: []) { $0.append($1.data) }
        }
        _ = await (forked, marks)
        // Nothing but the child could still have written: the parent has closed its end.
        let count = await fixture.execute("count").data
        await fixture.executor.shutDown()
        return count
    }

    @Test func aForkedChildRunsNothingMore() async {
        await #expect(processExitsWith: .success) {
            guard try await Self.marksOfAForkedChild(.inProcess) == "0" else { _exit(2) }
        }
    }

    @Test func aForkedChildInTheSandboxRunsNothingMore() async throws {
        #expect(try await Self.marksOfAForkedChild(.sandbox) == "0")
    }
}
