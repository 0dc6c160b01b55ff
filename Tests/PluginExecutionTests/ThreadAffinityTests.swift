import AgentModel
import AgentTestSupport
import Glibc
import PluginExecution
import PythonEmbedding
import Synchronization
import Testing

/// Each loaded plugin has a thread of its own, from its constructor to its `shutdown`.
@Suite struct ThreadAffinityTests {
    private static let script = """
        \(Gates.script)
        import sqlite3, threading
        class Plugin:
            def __init__(self):
                self.thread = threading.get_ident()
                self.local = threading.local()
                self.local.value = "of the constructor"
                self.database = sqlite3.connect(":memory:")
                self.database.execute("CREATE TABLE t (a)")
            def add(self):
                self.database.execute("INSERT INTO t VALUES (1)")
                return self.database.execute("SELECT count(*) FROM t").fetchone()[0]
            def is_same(self): return self.thread == threading.get_ident() and self.local.value
            def get(self): return self.thread
            def hold(self, name):
                gate(name + " entered").set()
                gate(name).wait(60)
                return self.is_same()
            def shutdown(self):
                assert self.is_same(), "another thread"
                self.database.close()
        """

    @Test(arguments: Tier.allCases)
    func whatIsBoundToTheConstructorsThreadWorks(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, workers: 4)
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: other)
        for number in 1...20 {
            async let beside = fixture.execute("add", of: other)
            let outcome = await fixture.execute("add")
            #expect(outcome.data == "\(number)", "\(outcome)")
            #expect(await beside.data == "\(number)")
        }
        #expect(await fixture.execute("is_same").data == "of the constructor")
        #expect(await fixture.executor.unload(fixture.id) == nil)
        await fixture.executor.shutDown()
    }

    /// A new version has another thread, and the old one is shut down on its own.
    @Test func aNewVersionHasItsOwnThread() async throws {
        let fixture = try ExecutorFixture(.inProcess)
        try await fixture.load(Self.script)
        async let held = fixture.execute("hold", #"{"name": "version"}"#)
        while !fixture.isOpen("version entered") { await Task.yield() }
        async let waiting = fixture.execute("is_same")
        try await fixture.load(Self.script)
        fixture.open("version")
        #expect(await held.data == "of the constructor")
        #expect(await waiting.data == "of the constructor")
        #expect(await fixture.executor.unload(fixture.id) == nil)
        await fixture.executor.shutDown()
    }

    /// Calls that hold every worker keep no plugin from being loaded, called in its constructor or unloaded.
    @Test func loadingWaitsForNoWorker() async throws {
        let fixture = try ExecutorFixture(.inProcess, workers: 1)
        let other = try ExecutorFixture.newID("loaded-beside")
        try await fixture.load(Self.script)
        async let held = fixture.execute("hold", #"{"name": "every worker"}"#)
        while !fixture.isOpen("every worker entered") { await Task.yield() }
        try await fixture.load(Self.script, id: other)
        #expect(await fixture.executor.unload(other) == nil)
        fixture.open("every worker")
        #expect(await held.status == .succeeded)
        await fixture.executor.shutDown()
    }

    @Test func aSandboxedCallThatWaitsInTheKernelIsReplacedToo() async throws {
        let fixture = try ExecutorFixture(.sandbox, workers: 2)
        let workers = Mutex(1)
        let inProcess = try InProcessExecutor(
            interpreter: .start(), workers: 1, workersMax: 2,
            policy: TimeLimitPolicy(interpreterGrace: .seconds(6), kernelGrace: .milliseconds(100)),
            events: ExecutorEvents(onWedged: {}, onWorkers: { count in workers.withLock { $0 = count } }))
        let sandbox = try #require(fixture.executor as? SandboxExecutor)
        let executor = TieredExecutor(inProcess: inProcess) { sandbox }
        let path = fixture.folder.path("lock")
        let lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o666)
        fchmod(lock, 0o666)
        flock(lock, LOCK_EX)
        try await executor.load(
            fixture.image(
                """
                import fcntl
                class Plugin:
                    def wait(self, path):
                        with open(path, "w") as file: fcntl.flock(file, fcntl.LOCK_EX)
                        return "locked"
                """))
        async let waiting = executor.execute(
            Invocation(pluginID: fixture.id, function: "wait", arguments: #"{"path": "\#(path)"}"#))
        while workers.withLock({ $0 }) < 2 { try await Task.sleep(for: .milliseconds(50)) }
        #expect(executor.use.uses.map(\.plugin) == [fixture.id])
        #expect(executor.use.uses.first?.state == .waiting)
        close(lock)
        #expect(await waiting.data == "locked")
        await executor.shutDown()
    }

    /// A call that waits in the kernel keeps its worker, and another may run beside it.
    @Test func aWorkerThatWaitsInTheKernelIsReplaced() async throws {
        let fixture = try ExecutorFixture(
            .inProcess, workers: 1, interpreterGrace: .seconds(60), workersMax: 2, kernelGrace: .milliseconds(100))
        let others = try [ExecutorFixture.newID("second"), ExecutorFixture.newID("third")]
        let script = """
            import os
            class Plugin:
                def make(self, path): os.mkfifo(path)
                def read(self, path): return open(path).read()
                def write(self, path):
                    with open(path, "w") as file: file.write("done")
                def fast(self): return 1
            """
        try await fixture.load(script)
        for id in others { try await fixture.load(script, id: id) }
        let path = #"{"path": "\#(fixture.folder.path("fifo"))"}"#
        _ = await fixture.execute("make", path)
        async let read = fixture.execute("read", path)
        let executor = try #require(fixture.executor as? InProcessExecutor)
        while executor.use.uses.first?.state != .waiting { try await Task.sleep(for: .milliseconds(10)) }
        #expect(executor.use.uses.first?.plugin == fixture.id)
        #expect(executor.use.workers == 2)
        #expect(await fixture.execute("fast", of: others[0]).data == "1")
        _ = await fixture.execute("write", path, of: others[1])
        #expect(await read.data == "done")
        await fixture.executor.shutDown()
    }
}
