import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import Sandbox
import Testing

/// What a plugin does to its process ends as one failed run; the next call has a fresh process, and no other plugin
/// notices.
@Suite struct SandboxContainmentTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// The body of the method that is called.
        let body: String
        let status: RunStatus
        let code: String
        var part = ""
        var timeLimit: Duration?
        var cpuTime: Duration?
        /// Whether the next call finds the state of an earlier one: then the process was not harmed.
        var keepsProcess = false
        var testDescription: String { name }

        /// A sanitizer ends the process itself where memory is out or wrongly used, or is out for a thread.
        var needsNoSanitizer: Bool {
            status == .outOfMemory || ["segmentation fault", "threads without end"].contains(name)
        }
    }

    private static let cases = allCases.filter { !(Sanitizer.isActive && $0.needsNoSanitizer) }

    private static let allCases = [
        Case(
            name: "segmentation fault", body: "ctypes.string_at(0)", status: .crashed, code: "run.crashed",
            part: "SIGSEGV"),
        Case(name: "abort", body: "ctypes.CDLL(None).abort()", status: .crashed, code: "run.crashed", part: "SIGABRT"),
        Case(name: "_exit", body: "os._exit(7)", status: .crashed, code: "run.crashed", part: "status 7"),
        Case(name: "exit status 0", body: "os._exit(0)", status: .crashed, code: "run.crashed", part: "status 0"),
        Case(
            name: "kills itself", body: "os.kill(os.getpid(), 9); time.sleep(60)", status: .crashed,
            code: "run.crashed", part: "SIGKILL"),
        Case(
            name: "large objects", body: "x = []\nwhile True: x.append(bytearray(1 << 20))", status: .outOfMemory,
            code: "sandbox.out_of_memory"),
        Case(
            name: "small objects", body: "x = []\nwhile True: x.append([len(x)])", status: .outOfMemory,
            code: "sandbox.out_of_memory"),
        Case(
            name: "objects on self", body: "self.x = []\nwhile True: self.x.append(bytearray(1 << 20))",
            status: .outOfMemory, code: "sandbox.out_of_memory"),
        Case(
            name: "an exception made of MemoryError", body: "raise type('Full', (MemoryError,), {})('no room')",
            status: .outOfMemory, code: "sandbox.out_of_memory"),
        Case(
            name: "memory of C",
            body: """
                malloc = ctypes.CDLL(None).malloc
                malloc.restype = ctypes.c_void_p
                while malloc(ctypes.c_size_t(1 << 16)): pass
                bytearray(1 << 22)
                """, status: .outOfMemory, code: "sandbox.out_of_memory"),
        Case(
            name: "forks without end",
            body: """
                try:
                    while True:
                        if os.fork() == 0: time.sleep(3600)
                except OSError as error:
                    raise RuntimeError(error.errno == errno.EAGAIN)
                """, status: .failed, code: "plugin.exception", part: "True", keepsProcess: true),
        Case(
            name: "threads without end",
            body: "while True: threading.Thread(target=threading.Event().wait, daemon=True).start()",
            status: .failed, code: "plugin.exception", part: "start new thread", keepsProcess: true),
        Case(
            name: "fills its scratch folder",
            body: "with open('fill', 'wb') as f:\n    while True: f.write(bytes(1 << 20))",
            status: .failed, code: "plugin.exception", part: "No space left"),
        Case(
            name: "prints without end", body: "while True: print('x' * 65536)", status: .outputLimit,
            code: "task.output_limit", keepsProcess: true),
        Case(
            name: "writes without end", body: "while True: os.write(1, bytes(65536))", status: .outputLimit,
            code: "task.output_limit"),
        Case(
            name: "a program writes without end", body: "subprocess.run(['cat', '/dev/zero'])", status: .outputLimit,
            code: "task.output_limit"),
        Case(
            name: "holds the GIL in C", body: "sum(range(10 ** 12))", status: .timedOut, code: "task.timed_out",
            part: "child_ended", timeLimit: .milliseconds(300)),
        Case(
            name: "ignores every signal",
            body: """
                for number in range(1, 65):
                    try: signal.pthread_sigmask(signal.SIG_BLOCK, [number])
                    except Exception: pass
                sum(range(10 ** 12))
                """, status: .timedOut, code: "task.timed_out", part: "child_ended", timeLimit: .milliseconds(300)),
        Case(
            name: "stops itself", body: "os.kill(os.getpid(), signal.SIGSTOP)\nwhile True: time.sleep(60)",
            status: .timedOut, code: "task.timed_out", part: "child_ended", timeLimit: .milliseconds(300)),
        Case(
            name: "closes its descriptors", body: "os.closerange(0, 1024)", status: .crashed, code: "run.crashed"),
        Case(
            name: "closes its streams and works on", body: "os.close(1); os.close(2)\nraise ValueError('done')",
            status: .failed, code: "plugin.exception", part: "done", keepsProcess: true),
        Case(
            name: "uses up its processor time", body: "while True: pass", status: .timedOut, code: "sandbox.cpu_limit",
            cpuTime: .milliseconds(300)),
        Case(
            name: "a program uses up its processor time", body: "subprocess.run(['sh', '-c', 'while :; do :; done'])",
            status: .timedOut, code: "sandbox.cpu_limit", cpuTime: .milliseconds(300)),
        Case(
            name: "programs that no one waits for use up its processor time",
            body: """
                ctypes.CDLL(None).signal(signal.SIGCHLD, ctypes.c_void_p(1))  # SIG_IGN
                while True:
                    program = subprocess.Popen(["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"])
                    while program.poll() is None: time.sleep(0.01)
                """, status: .timedOut, code: "sandbox.cpu_limit", cpuTime: .seconds(2)),
    ]

    private static func script(_ body: String) -> String {
        """
        \(Gates.script)
        import ctypes, errno, os, signal, subprocess, threading, time
        class Plugin:
            def remember(self): self.seen = True
            def recall(self): return hasattr(self, "seen")
            def misbehave(self):
                \(body.replacing("\n", with: "\n        "))
            def wait(self): return gate("on").wait()
        """
    }

    @Test(arguments: cases)
    func endsAsOneFailedRun(_ testCase: Case) async throws {
        let fixture = try ExecutorFixture(
            .sandbox, workers: 2, injectGrace: .milliseconds(50),
            policy: {
                $0.cpuTime = testCase.cpuTime
                $0.scratch = 8 << 20
                $0.memory = 128 << 20
            })
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script(testCase.body))
        // Without the limit of processor time, which its waiting would use up.
        var patient = fixture.policy
        patient.cpuTime = nil
        try await fixture.load(Self.script("pass"), id: other, policy: patient)
        _ = await fixture.execute("remember", of: other)
        async let beside = fixture.execute("wait", of: other)
        #expect(await fixture.execute("remember").status == .succeeded)
        let outcome = await fixture.execute("misbehave", timeLimit: testCase.timeLimit)
        #expect(outcome.status == testCase.status, "\(outcome)")
        #expect(outcome.error?.code == testCase.code)
        #expect(testCase.part.isEmpty || outcome.error?.message.contains(testCase.part) == true, "\(outcome)")
        #expect(outcome.isolation == "sandbox")
        #expect(outcome.hasBegun)
        #expect(outcome.stdout.utf8.count < 1 << 21)
        #expect(await fixture.execute("recall").data == (testCase.keepsProcess ? "true" : "false"))
        fixture.open("on")
        #expect(await beside.data == "true")
        #expect(await fixture.execute("recall", of: other).data == "true")
        await fixture.executor.shutDown()
    }

    /// Where the host runs out of memory the kernel ends them, and not the agent.
    @Test func childrenEndFirstWhereMemoryRunsOut() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(Self.script("pass"))
        let processes = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { name in
            guard let status = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8) else { return false }
            return status.contains("(runbook-keeper)") && status.contains(") S \(getpid()) ")
        }
        #expect(!processes.isEmpty)
        for process in processes {
            // Other tests end theirs meanwhile.
            guard let text = try? String(contentsOfFile: "/proc/\(process)/oom_score_adj", encoding: .utf8) else {
                continue
            }
            #expect(text == "1000\n")
        }
        await fixture.executor.shutDown()
    }

    @Test func resultThatIsTooLarge() async throws {
        let fixture = try ExecutorFixture(.sandbox, policy: { $0.memory = 2 << 30 })
        try await fixture.load("class Plugin:\n    def run(self, size): return 'x' * size")
        let outcome = await fixture.execute("run", #"{"size": 90000000}"#)
        #expect(outcome.status == .failed)
        #expect(outcome.error?.code == "plugin.result_too_large", "\(String(describing: outcome.error))")
        #expect(await fixture.execute("run", #"{"size": 60000000}"#).data?.utf8.count == 60_000_000)
        await fixture.executor.shutDown()
    }

    /// Such as by the kernel, when memory runs out on the host: no call has to suffer from that.
    @Test func processThatEndsBetweenCalls() async throws {
        let fixture = try ExecutorFixture(.sandbox, workers: 1)
        let script = """
            \(Gates.script)
            import os, threading
            class Plugin:
                def leave(self):
                    def run():
                        gate("leave").wait()
                        os._exit(1)
                    threading.Thread(target=run).start()
                def fast(self): return 1
                def process(self): return [hasattr(self, "seen"), setattr(self, "seen", 1)][0]
            """
        try await fixture.load(script)
        _ = await fixture.execute("process")
        _ = await fixture.execute("leave")
        fixture.open("leave")
        // Until it has left; none of the calls may fail, whenever it does.
        var outcome = await fixture.execute("process")
        var crashed = 0
        while outcome.data != "false" {
            // It may leave in the middle of a call.
            if outcome.status == .crashed { crashed += 1 } else { #expect(outcome.data == "true") }
            outcome = await fixture.execute("process")
        }
        #expect(crashed <= 1)
        await fixture.executor.shutDown()
    }

    @Test func idleProcessIsStartedAgain() async throws {
        let fixture = try ExecutorFixture(.sandbox, idleTimeout: .milliseconds(20))
        let script = """
            \(Gates.script)
            class Plugin:
                def remember(self): self.seen = True
                def recall(self): return hasattr(self, "seen")
                def shutdown(self): gate("rested" if hasattr(self, "seen") else "unused").set()
            """
        try await fixture.load(script)
        _ = await fixture.execute("remember")
        try await eventually("its first rest") { fixture.isOpen("rested") }
        #expect(await fixture.executor.missingFunctions(among: ["recall", "nothing"], of: fixture.id) == ["nothing"])
        try await eventually("its second rest") { fixture.isOpen("unused") }
        #expect(await fixture.execute("recall").data == "false")
        await fixture.executor.shutDown()
    }

    /// Calls that were admitted for two channels find one: they take turns.
    @Test func concurrencyThatIsLowered() async throws {
        let fixture = try ExecutorFixture(.sandbox, workers: 1)
        try await fixture.load(Self.script("pass"), concurrency: 4)
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script("pass"), id: other)
        async let held = fixture.execute("wait", of: other)
        let results = await withTaskGroup(of: RunStatus.self) { group in
            for _ in 0..<8 { group.addTask { await fixture.execute("remember").status } }
            try? await fixture.load(Self.script("pass"), concurrency: 1)
            fixture.open("on")
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results == Array(repeating: .succeeded, count: 8))
        #expect(await held.data == "true")
        await fixture.executor.shutDown()
    }
}
