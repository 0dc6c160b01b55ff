import AgentModel
import AgentTestSupport
import Foundation
import Glibc
import PluginExecution
import PythonEmbedding
import Sandbox
import Testing

/// Where a run hangs: told of what was stopped, of what crashed, and of what is under way.
@Suite(.serialized) struct StackTests {
    private static let script = """
        \(Gates.script)
        import ctypes, threading, time
        class Plugin:
            def outer(self):
                gate("begun").set()
                self.inner()
            def inner(self):
                while not gate("end").is_set(): pass
            def with_thread(self):
                threading.Thread(target=self.helper, name="helper", daemon=True).start()
                gate("begun").wait()
                self.inner()
            def helper(self):
                gate("begun").set()
                gate("end").wait()
            def finish(self):
                gate("begun").set()
                self.inner()
                return "finished"
            def hold(self):
                gate("begun").set()
                sum(range(10 ** 13))
            def deep(self, depth):
                if depth > 0: return self.deep(depth - 1)
                self.outer()
            def stubborn(self):
                while not gate("end").is_set():
                    try: self.inner()
                    except BaseException: pass
            def crash(self):
                self.fall()
            def fall(self):
                ctypes.string_at(0)
            def fast(self): return 1
        """

    /// The frames, the innermost last, each with its line.
    private static func frames(_ stack: String?) -> [String] {
        (stack ?? "").split(separator: "\n").compactMap { line in
            line.hasPrefix("  File ") ? line.split(separator: " ").last.map(String.init) : nil
        }
    }

    private func fixture(_ tier: Tier, injectGrace: Duration = .seconds(60)) async throws -> ExecutorFixture {
        let fixture = try ExecutorFixture(tier, injectGrace: injectGrace)
        try await fixture.load(Self.script)
        return fixture
    }

    private func end(_ fixture: ExecutorFixture) async {
        fixture.open("end")
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func whatTimesOutTellsWhereItWas(_ tier: Tier) async throws {
        let fixture = try await fixture(tier)
        let outcome = await fixture.execute("outer", timeLimit: .milliseconds(500))
        #expect(outcome.status == .timedOut)
        let stack = try #require(outcome.pythonStack)
        #expect(stack.hasPrefix("Stack (most recent call last):\n  File \""), "\(stack)")
        #expect(Array(Self.frames(stack).prefix(2)) == ["outer", "inner"], "\(stack)")
        #expect(stack.contains("\n    self.inner()\n"), "\(stack)")
        #expect(!stack.contains("<runbook-agent>"), "\(stack)")
        #expect(await fixture.execute("fast").pythonStack == nil)
        await end(fixture)
    }

    @Test(arguments: Tier.allCases)
    func whatIsCancelledTellsWhereItWas(_ tier: Tier) async throws {
        let fixture = try await fixture(tier)
        var invocation = Invocation(pluginID: fixture.id, function: "outer", runID: UUID().uuidString)
        let cancellation = Cancellation()
        invocation.cancellation = cancellation
        async let outcome = fixture.executor.execute(invocation)
        try await eventually("it has begun") { fixture.isOpen("begun") }
        cancellation.request(Cancellation.Request(by: "ada", reason: nil))
        fixture.executor.cancel(invocation.runID ?? "")
        let ended = await outcome
        #expect(ended.status == .cancelled)
        #expect(Self.frames(ended.pythonStack).starts(with: ["outer", "inner"]), "\(ended)")
        await end(fixture)
    }

    @Test(arguments: Tier.allCases)
    func threadsOfTheRunAreTold(_ tier: Tier) async throws {
        let fixture = try await fixture(tier)
        let outcome = await fixture.execute("with_thread", timeLimit: .seconds(1))
        let stack = try #require(outcome.pythonStack)
        #expect(stack.contains("Thread \"helper\" (most recent call last):"), "\(stack)")
        #expect(Self.frames(stack).contains("helper"), "\(stack)")
        await end(fixture)
    }

    @Test(arguments: Tier.allCases)
    func aDeepStackIsCut(_ tier: Tier) async throws {
        let fixture = try await fixture(tier)
        let outcome = await fixture.execute("deep", #"{"depth": 500}"#, timeLimit: .milliseconds(500))
        let stack = try #require(outcome.pythonStack)
        #expect(Self.frames(stack).suffix(6).contains("inner"), "\(stack.suffix(500))")
        #expect(stack.contains("[earlier calls left out]") && stack.utf8.count < 64 << 10)
        await end(fixture)
    }

    /// The run goes on and gives its result.
    @Test(arguments: Tier.allCases)
    func whoLooksDisturbsNothing(_ tier: Tier) async throws {
        let fixture = try await fixture(tier)
        let invocation = Invocation(pluginID: fixture.id, function: "finish", runID: UUID().uuidString)
        async let outcome = fixture.executor.execute(invocation)
        try await eventually("it has begun") { fixture.isOpen("begun") }
        for _ in 0..<20 {
            let stack = await fixture.executor.stack(of: invocation.runID ?? "")
            #expect(Self.frames(stack).first == "finish", "\(stack ?? "nil")")
        }
        #expect(await fixture.executor.stack(of: "another") == nil)
        fixture.open("end")
        let ended = await outcome
        #expect(ended.data == "finished" && ended.pythonStack == nil, "\(ended)")
        #expect(await fixture.executor.stack(of: invocation.runID ?? "") == nil)
        await fixture.executor.shutDown()
    }

    /// Whether it is told that a run is in the method `hold`, which it is soon.
    private static func isTold(of invocation: Invocation, by executor: any Executor) async -> Bool {
        for _ in 0..<20 where frames(await executor.stack(of: invocation.runID ?? "")) == ["hold"] { return true }
        return false
    }

    /// Also where C code holds the interpreter.
    @Test(.enabled(if: !Sanitizer.isThread)) func whatHoldsTheInterpreterOfTheSandboxIsTold() async throws {
        let fixture = try await fixture(.sandbox, injectGrace: .milliseconds(50))
        let invocation = Invocation(
            pluginID: fixture.id, function: "hold", timeLimit: .seconds(3), runID: UUID().uuidString)
        async let outcome = fixture.executor.execute(invocation)
        try await eventually("it has begun") { fixture.isOpen("begun") }
        #expect(await Self.isTold(of: invocation, by: fixture.executor))
        let ended = await outcome
        #expect(ended.status == .timedOut)
        #expect(Self.frames(ended.pythonStack) == ["hold"], "\(ended)")
        #expect(await fixture.execute("fast").data == "1")
        await end(fixture)
    }

    /// And not what another thread of the plugin is doing, or another call.
    @Test(.enabled(if: !Sanitizer.isThread)) func itIsTheRunThatIsTold() async throws {
        let fixture = try ExecutorFixture(.sandbox, injectGrace: .milliseconds(50))
        try await fixture.load(
            """
            \(Gates.script)
            import threading, time
            class Plugin:
                def __init__(self):
                    for _ in range(5): threading.Thread(target=self.background, daemon=True).start()
                def background(self):
                    while True: time.sleep(0.01)
                def other(self):
                    gate("other").set()
                    gate("end").wait()
                def hold(self):
                    gate("other").wait()
                    sum(range(10 ** 13))
            """, concurrency: 2)
        async let other = fixture.execute("other", timeLimit: .seconds(600))
        try await eventually("the other has begun") { fixture.isOpen("other") }
        let held = await fixture.execute("hold", timeLimit: .seconds(1))
        #expect(Self.frames(held.pythonStack) == ["hold"], "\(held)")
        fixture.open("end")
        _ = await other
        await fixture.executor.shutDown()
    }

    /// Whatever a plugin writes where its process tells where it is.
    @Test(arguments: ["\\x00", "1\\nforged\\x00", "endless"])
    func aPluginThatWritesThereHarmsItself(_ bytes: String) async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(
            """
            import os
            class Plugin:
                def noise(self):
                    while True:
                        for descriptor in range(3, 20):
                            try:
                                if os.fstat(descriptor).st_mode & 0o170000 == 0o010000 and not os.get_blocking(descriptor):
                                    os.write(descriptor, b"\(bytes)" * 100)
                            except OSError: pass
                def fast(self): return 1
            """)
        let outcome = await fixture.execute("noise", timeLimit: .milliseconds(500))
        #expect(outcome.status == .timedOut, "\(outcome)")
        #expect((outcome.pythonStack?.utf8.count ?? 0) < 200_000)
        #expect(await fixture.execute("fast").data == "1")
        await fixture.executor.shutDown()
    }

    /// In a process of its own: the interpreter is everybody's.
    @Test(.enabled(if: !Sanitizer.isThread)) func whatHoldsTheAgentsInterpreterIsTold() async {
        await #expect(processExitsWith: .exitCode(75)) {
            let fixture = try ExecutorFixture(
                .inProcess, injectGrace: .milliseconds(50), interpreterGrace: .seconds(2), onWedged: {})
            try await fixture.load(Self.script)
            let invocation = Invocation(
                pluginID: fixture.id, function: "hold", timeLimit: .seconds(3), runID: "held")
            async let outcome = fixture.executor.execute(invocation)
            while !fixture.isOpen("begun") { await Task.yield() }
            guard await Self.isTold(of: invocation, by: fixture.executor) else { _exit(4) }
            let ended = await outcome
            guard ended.error?.message.contains("process_ended") == true else { _exit(2) }
            guard Self.frames(ended.pythonStack) == ["hold"] else { _exit(3) }
            _exit(75)
        }
    }

    /// A plugin that closes descriptors of the agent's and opens its own has nothing written into them, or read from them.
    @Test(.enabled(if: !Sanitizer.isThread)) func descriptorsThatAreOthersNowAreLeftAlone() async {
        await #expect(processExitsWith: .exitCode(75)) {
            let fixture = try ExecutorFixture(.inProcess, interpreterGrace: .seconds(60))
            try await fixture.load(
                """
                \(Gates.script)
                import os, stat
                class Plugin:
                    def hold(self, path):
                        pipes = []
                        for descriptor in range(3, 256):
                            try:
                                if stat.S_ISFIFO(os.fstat(descriptor).st_mode) and not os.get_blocking(descriptor):
                                    pipes.append(descriptor)
                            except OSError: pass
                        file = os.open(path, os.O_RDWR | os.O_CREAT)
                        os.write(file, b"mine")
                        os.lseek(file, 0, 0)
                        for descriptor in pipes: os.dup2(file, descriptor)
                        gate("begun").set()
                        sum(range(10 ** 13))
                """)
            let path = fixture.folder.path("file")
            let invocation = Invocation(
                pluginID: fixture.id, function: "hold", arguments: "{\"path\": \"\(path)\"}", runID: "held")
            async let _ = fixture.executor.execute(invocation)
            while !fixture.isOpen("begun") { await Task.yield() }
            try await Task.sleep(for: .milliseconds(300))
            guard await fixture.executor.stack(of: "held") == nil else { _exit(2) }
            guard try String(contentsOfFile: path, encoding: .utf8) == "mine" else { _exit(3) }
            _exit(75)
        }
    }

    @Test func aCrashInTheSandboxTellsWhereItWas() async throws {
        let fixture = try await fixture(.sandbox)
        let outcome = await fixture.execute("crash")
        #expect(outcome.status == .crashed)
        #expect(Self.frames(outcome.pythonStack).starts(with: ["crash", "fall"]), "\(outcome)")
        #expect(!outcome.stderr.contains("Segmentation"), "\(outcome)")
        // One that ended its process by itself tells nothing.
        await end(fixture)
    }

    @Test func processorTimeThatIsUsedUpTellsWhere() async throws {
        let fixture = try ExecutorFixture(.sandbox, policy: { $0.cpuTime = .milliseconds(300) })
        try await fixture.load(Self.script)
        let outcome = await fixture.execute("outer")
        #expect(outcome.status == .timedOut)
        #expect(Self.frames(outcome.pythonStack).starts(with: ["outer", "inner"]), "\(outcome)")
        await end(fixture)
    }

    /// What is refused because earlier calls of its plugin hang tells where those hang.
    @Test func stuckCallsTellWhereTheyAre() async throws {
        let fixture = try await fixture(.inProcess, injectGrace: .milliseconds(20))
        var refused = await fixture.execute("stubborn", timeLimit: .milliseconds(200))
        while refused.error?.code != "plugin.stuck" {
            #expect(refused.status == .timedOut)
            refused = await fixture.execute("stubborn", timeLimit: .milliseconds(200))
        }
        #expect(refused.status == .rejected)
        #expect(Self.frames(refused.pythonStack).filter { $0 == "stubborn" }.count == 3, "\(refused)")
        await end(fixture)
    }

    @Test func whatFaulthandlerWritesIsReadBackwards() {
        let dump = StackDump(
            text: """
                Fatal Python error: Segmentation fault

                Thread 0x00007f0000000001 (most recent call first):
                  File "/a/wait.py", line 3 in wait

                Current thread 0x00007f0000000002 (most recent call first):
                  File "/a/b, line 2 in c.py", line 7 in inner
                  File "<runbook-agent>/plugins.py", line 1 in call
                  File "/a/b.py", line 9 in outer

                Thread 0x00007f0000000003 (most recent call first):
                  <no Python frame>

                Extension modules: _ctypes (total: 1)
                """)
        #expect(
            dump.text() == """
                Stack (most recent call last):
                  File "/a/b.py", line 9, in outer
                  File "/a/b, line 2 in c.py", line 7, in inner
                Another thread (most recent call last):
                  File "/a/wait.py", line 3, in wait

                """)
        #expect(dump.text(of: 0x7f00_0000_0001)?.contains("wait") == true)
        #expect(dump.text(of: 0x7f00_0000_0003) == nil)
        #expect(StackDump(text: "  File \"x\", line 1 in y\n\u{fffd}").text() == nil)
    }
}
