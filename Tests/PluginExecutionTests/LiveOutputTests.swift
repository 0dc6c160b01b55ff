import AgentModel
import AgentTestSupport
import PluginExecution
import PythonEmbedding
import Testing
import Threads

/// What a call writes, told while it runs.
@Suite struct LiveOutputTests {
    private final class Told: Sendable {
        private let texts = BlockingLock<[StandardStream: String]>([:])
        var observer: OutputObserver { { stream, text in self.texts.withLock { $0[stream, default: ""] += text } } }
        subscript(stream: StandardStream) -> String { texts.withLock { $0[stream] ?? "" } }
    }

    private static let script =
        Gates.script + """

            import os, subprocess, sys, threading
            print("while loading")
            class Plugin:
                def steps(self):
                    print("one", flush=True)
                    print("ä€😀", file=sys.stderr)
                    gate("go on").wait()
                    os.system("echo two")
                    print("three")
                def much(self): print("😀" * 3000000)
                def beyond(self):
                    def run():
                        gate("ended").wait()
                        print("late")
                        gate("late").set()
                    print("early")
                    threading.Thread(target=run).start()
                def forks(self):
                    print("before")
                    child = os.fork()
                    if child == 0:
                        print("in the child")
                        os._exit(0)
                    os.waitpid(child, 0)
                    print("after")
                def empties(self):
                    for _ in range(1000):
                        sys.stdout.buffer.write(b"")
                        print("", end="")
                    sys.stdout.buffer.write("€".encode()[:1])
                    sys.stdout.buffer.write("€".encode()[1:])
                def surrogates(self): print("\\ud800" * (2 << 20))
                def forks_beside_a_thread(self):
                    over = threading.Event()
                    def chatter():
                        while not over.is_set(): print("x", end="")
                    thread = threading.Thread(target=chatter)
                    thread.start()
                    for _ in range(100):
                        child = os.fork()
                        if child == 0:
                            print("in the child")
                            os._exit(0)
                        os.waitpid(child, 0)
                    over.set()
                    thread.join()
                    return "all ended"
                def fast(self): return 1
            """

    @Test(arguments: Tier.allCases) func isToldInTheOrderInWhichItIsWritten(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        let (loading, told) = (Told(), Told())
        var image = fixture.image(Self.script)
        image.onOutput = loading.observer
        try await fixture.executor.load(image)
        #expect(loading[.output] == "while loading\n")
        var invocation = Invocation(pluginID: fixture.id, function: "steps")
        invocation.onOutput = told.observer
        async let call = fixture.executor.execute(invocation)
        while !told[.errors].hasSuffix("\n") { try await Task.sleep(for: .milliseconds(1)) }
        #expect(told[.output] == "one\n")
        #expect(told[.errors] == "ä€😀\n")
        fixture.open("go on")
        let outcome = await call
        #expect(outcome.stdout == "one\ntwo\nthree\n", "\(outcome)")
        #expect(told[.output] == outcome.stdout)
        await fixture.executor.shutDown()
    }

    /// No more than is kept, but for what is cut at a byte and not at a character.
    @Test(arguments: Tier.allCases) func isToldAsFarAsItIsKept(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let told = Told()
        var invocation = Invocation(pluginID: fixture.id, function: "much")
        invocation.onOutput = told.observer
        let outcome = await fixture.executor.execute(invocation)
        #expect(outcome.status == .succeeded, "\(outcome.error?.message ?? "")")
        #expect(told[.output].unicodeScalars.count == (1 << 20) + 1)
        #expect(outcome.stdout.utf8.count < 1 << 20 + 100)
        await fixture.executor.shutDown()
    }

    /// Without end they would fill the memory of whoever is told.
    @Test(arguments: Tier.allCases) func emptyWritesAreNotTold(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let times = BlockingLock(0)
        var invocation = Invocation(pluginID: fixture.id, function: "empties")
        invocation.onOutput = { _, text in times.withLock { $0 += text == "€" ? 1 : 1000 } }
        #expect(await fixture.executor.execute(invocation).stdout == "€")
        #expect(times.withLock { $0 } == 1)
        await fixture.executor.shutDown()
    }

    /// What is no text becomes no more of it than the agent takes.
    @Test(arguments: Tier.allCases) func whatIsNoTextIsToldAsFarAsItIsKept(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let told = Told()
        var invocation = Invocation(pluginID: fixture.id, function: "surrogates")
        invocation.onOutput = told.observer
        let outcome = await fixture.executor.execute(invocation)
        #expect(outcome.status == .succeeded, "\(outcome.error?.message ?? "")")
        #expect(told[.output].unicodeScalars.count == (1 << 20) + 1)
        await fixture.executor.shutDown()
    }

    /// A copy of a lock that another thread holds is never given back in the forked process.
    @Test(.enabled(if: !Sanitizer.isActive), arguments: Tier.allCases)
    func aForkedProcessWaitsForNoLock(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        var invocation = Invocation(
            pluginID: fixture.id, function: "forks_beside_a_thread", timeLimit: .seconds(60))
        invocation.onOutput = { _, _ in }
        let outcome = await fixture.executor.execute(invocation)
        #expect(outcome.data == "all ended", "\(outcome.status) \(outcome.error?.message ?? "")")
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases) func nothingIsToldAfterTheEnd(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(Self.script)
        let told = Told()
        for function in ["forks", "beyond"] {
            var invocation = Invocation(pluginID: fixture.id, function: function)
            invocation.onOutput = told.observer
            let outcome = await fixture.executor.execute(invocation)
            #expect(outcome.status == .succeeded, "\(outcome)")
        }
        fixture.open("ended")
        while !fixture.isOpen("late") { try await Task.sleep(for: .milliseconds(1)) }
        // Whose process would be another one, had it said something unasked.
        #expect(await fixture.execute("fast").data == "1")
        #expect(told[.output].replacing("in the child\n", with: "") == "before\nafter\nearly\n")
        await fixture.executor.shutDown()
    }
}
