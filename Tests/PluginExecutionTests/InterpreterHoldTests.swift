import AgentModel
import Foundation
import Glibc
import PluginExecution
import PythonEmbedding
import Synchronization
import Testing
import Threads

/// What becomes of the others while one thread holds the interpreter. Each runs in a process of its own: the
/// interpreter is everybody's.
@Suite struct InterpreterHoldTests {
    private static let script = """
        \(Gates.script)
        import re, threading, time
        def keep(seconds):
            # Each step is inside of one C call that keeps the GIL.
            end = time.monotonic() + seconds
            size = 10 ** 6
            while True:
                begin = time.monotonic()
                sum(range(size))
                if time.monotonic() - begin > 0.2: break
                size *= 2
            sum(range(int(size * seconds / (time.monotonic() - begin))))
        class Plugin:
            def hog(self, seconds, name):
                gate(name).set()
                keep(seconds)
                return "done"
            def brief(self, name):
                gate(name).set()
                time.sleep(1)
                return 1
            def start(self):
                threading.Thread(target=self.keep_for_good, name="keeper", daemon=True).start()
                return "started"
            def keep_for_good(self):
                time.sleep(0.2)
                sum(range(10 ** 13))
            def wedge(self, name):
                gate(name).set()
                sum(range(10 ** 13))
        """

    private static func waitUntilHeld() async throws {
        let interpreter = try PythonInterpreter.start()
        while await interpreter.perform(within: .milliseconds(500), { _ in true }) == true {
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    private static func never() async {
        let never = AsyncStream<Void>.makeStream()
        for await _ in never.stream {}
        never.continuation.finish()
    }

    /// The time that a call waits for another plugin's long C call doesn't count against its own short limit.
    @Test func waitingForTheInterpreterIsNoTimeOfTheCall() async {
        await #expect(processExitsWith: .success) {
            let holders = Mutex<[PluginID?]>([])
            let fixture = try ExecutorFixture(
                .inProcess, askGrace: .milliseconds(100), injectGrace: .milliseconds(100),
                interpreterGrace: .seconds(2), onWedged: { _exit(70) },
                onHold: { hold in holders.withLock { $0.append(hold?.plugin) } })
            let other = try PluginID("brief")
            try await fixture.load(Self.script)
            try await fixture.load(Self.script, id: other)
            async let brief = fixture.execute("brief", #"{"name": "brief"}"#, of: other, timeLimit: .seconds(2))
            while !fixture.isOpen("brief") { await Task.yield() }
            let hog = await fixture.execute("hog", #"{"seconds": 8, "name": "hog"}"#, timeLimit: .seconds(600))
            guard hog.status == .succeeded else { _exit(2) }
            guard await brief.status == .succeeded else { _exit(3) }
            guard holders.withLock({ $0.contains(fixture.id) }) else { _exit(4) }
            await fixture.executor.shutDown()
        }
    }

    /// A plugin's own thread takes the interpreter for good after its call has returned.
    @Test func aPluginsOwnThreadIsNoticedAndNamed() async {
        await #expect(processExitsWith: .exitCode(75)) {
            let holds = Mutex<[InterpreterHold]>([])
            let refused = BlockingQueue<Outcome>()
            let fixture = try ExecutorFixture(
                .inProcess, interpreterGrace: .seconds(2),
                onWedged: {
                    guard holds.withLock({ $0.first?.thread }) == "keeper" else { _exit(2) }
                    guard holds.withLock({ $0.first?.plugin?.rawValue.hasPrefix("plugin-") }) == true else { _exit(3) }
                    // What has not begun is taken back.
                    guard refused.pop().hasBegun == false else { _exit(4) }
                    _exit(75)
                },
                onHold: { hold in if let hold { holds.withLock { $0.append(hold) } } })
            let other = try PluginID("behind")
            try await fixture.load(Self.script)
            try await fixture.load(Self.script, id: other)
            guard await fixture.execute("start").data == "started" else { _exit(5) }
            // Not before its thread has the interpreter.
            try await Self.waitUntilHeld()
            refused.push(await fixture.execute("brief", #"{"name": "x"}"#, of: other))
            await Self.never()
        }
    }

    /// A call that holds the interpreter is reported soon after all calls are stopped, whatever its limit.
    @Test func aHeldInterpreterKeepsNoCallFromBeingStopped() async {
        await #expect(processExitsWith: .success) {
            let fixture = try ExecutorFixture(.inProcess, interpreterGrace: .seconds(1))
            try await fixture.load(Self.script)
            async let wedged = fixture.execute("wedge", #"{"name": "wedge"}"#)
            while !fixture.isOpen("wedge") { await Task.yield() }
            fixture.executor.stopCalls()
            guard await wedged.status == .interrupted else { _exit(2) }
        }
    }

    /// What is given back may run a plugin's code, which may never end.
    @Test func aDestructorThatBlocksIsWaitedForOnlyShortly() async {
        await #expect(processExitsWith: .success) {
            let fixture = try ExecutorFixture(.inProcess, onWedged: { _exit(70) })
            let other = try PluginID("beside")
            try await fixture.load(Self.script, id: other)
            try await fixture.load(
                """
                \(Gates.script)
                class Plugin:
                    def __del__(self, gate=gate):
                        gate("destructor").set()
                        gate("never").wait()
                """)
            _ = await fixture.executor.unload(fixture.id)
            while !fixture.isOpen("destructor") { await Task.yield() }
            await (fixture.executor as? InProcessExecutor)?.collectGarbage()
            guard await fixture.execute("brief", #"{"name": "x"}"#, of: other).data == "1" else { _exit(2) }
            await fixture.executor.shutDown()
        }
    }

    /// Neither questions to the interpreter nor the end of the executor wait for one that is held for good.
    @Test func loadedPluginsAreShutDownWithoutAHeldInterpreter() async {
        await #expect(processExitsWith: .success) {
            let fixture = try ExecutorFixture(.inProcess, interpreterGrace: .seconds(6), onWedged: { _exit(70) })
            try await fixture.load(
                """
                import threading, time
                class Plugin:
                    def __init__(self):
                        threading.Thread(target=self.hold, daemon=True).start()
                    def hold(self):
                        time.sleep(0.2)
                        sum(range(10 ** 13))
                    def run(self): return 1
                """)
            try await Self.waitUntilHeld()
            _ = await fixture.executor.missingFunctions(among: ["run"], of: fixture.id)
            await fixture.executor.shutDown()
        }
    }
}
