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
            code: "task.output_limit", keepsProcess: true),
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
                $0.limits[.scratch] = 8 << 20
                $0.limits[.memory] = 128 << 20
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
        #expect(outcome.isolation == .sandbox)
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
        let fixture = try ExecutorFixture(.sandbox, policy: { $0.limits[.memory] = 2 << 30 })
        try await fixture.load("class Plugin:\n    def run(self, size): return 'x' * size")
        let outcome = await fixture.execute("run", "{\"size\": \((16 << 20) + 1)}")
        #expect(outcome.status == .failed)
        #expect(outcome.error?.code == "plugin.result_too_large", "\(String(describing: outcome.error))")
        #expect(await fixture.execute("run", "{\"size\": \(16 << 20)}").data?.utf8.count == 16 << 20)
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

    // MARK: Programs with the agent's rights

    /// A program with these bits would give whoever starts it the rights of the agent's user, or of the plugin's.
    @Test func noFileGetsTheRightsOfItsOwner() async throws {
        let script = """
            import ctypes, os, platform, shutil, struct
            libc = ctypes.CDLL(None, use_errno=True)
            def call(number, *arguments):
                result = libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
                if result < 0: raise OSError(ctypes.get_errno(), "")
                return result
            def new(path, mode=0o755):
                descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, mode)
                return descriptor
            def fchmod(path):
                descriptor = new(path)
                os.fchmod(descriptor, 0o4755)
            def fchmodat2(path):
                new(path)
                call(452, -100, path.encode(), 0o4755, 0)
            def openat2(path):
                call(437, -100, path.encode(), struct.pack("=QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0), 24)
            def unnamed(path):
                descriptor = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY, 0o4755)
                os.link(f"/proc/self/fd/{descriptor}", path)
            WAYS = {
                "chmod": lambda path: (new(path), os.chmod(path, 0o4755)),
                "group": lambda path: (new(path), os.chmod(path, 0o2755)),
                "both": lambda path: (new(path), os.chmod(path, 0o6755)),
                "fchmod": fchmod, "fchmodat2": fchmodat2, "openat2": openat2, "unnamed": unnamed,
                "open": lambda path: new(path, 0o4755),
                "folder": lambda path: os.mkdir(path, 0o2755),
                "mode of a folder": lambda path: (os.mkdir(path), os.chmod(path, 0o2755)),
                "node": lambda path: os.mknod(path, 0o104755),
            }
            class Plugin:
                def attempts(self, folder):
                    results = {}
                    for place in (folder, "/dev/shm"):
                        for name, act in WAYS.items():
                            path = os.path.join(place, name)
                            try:
                                act(path)
                                results[name] = results.get(name, "") + "accepted "
                            except OSError as error: results[name] = results.get(name, "") + type(error).__name__ + " "
                            if os.path.lexists(path) and os.lstat(path).st_mode & 0o6000: results[name] = "THROUGH"
                    return sorted(name for name, text in results.items() if "accepted" in text or text == "THROUGH")
                def honest(self, folder):
                    path = os.path.join(folder, "honest")
                    os.close(new(path, 0o700))
                    os.chmod(path, 0o1755)
                    os.mkdir(path + "-folder", 0o755)
                    shutil.copy2(path, path + "-copy")
                    return True
            """
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(script)
        let arguments = "{\"folder\": \"\(fixture.folder.path)\"}"
        let outcome = await fixture.execute("attempts", arguments)
        #expect(outcome.data == "[]", "\(outcome)")
        let honest = await fixture.execute("honest", arguments)
        #expect(honest.data == "true", "\(honest)")
        await fixture.executor.shutDown()
    }

    /// A socket that waits with its end for what it has to send must not be closed by a thread of the agent.
    @Test(arguments: [0, 20, 86400])
    func noDescriptorReachesTheAgent(_ linger: Int) async throws {
        let script = """
            import array, os, socket, struct, time
            class Plugin:
                def run(self, linger, target):
                    listener = socket.socket()
                    listener.bind(("127.0.0.1", 0))
                    listener.listen(1)
                    client = socket.create_connection(listener.getsockname())
                    self.keep = (listener, listener.accept()[0])
                    client.setblocking(False)
                    try:
                        while True: client.send(b"x" * 65536)
                    except BlockingIOError: pass
                    client.setblocking(True)
                    if linger: client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
                    channel = socket.socket(fileno=os.dup(target))
                    channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [client.fileno()]))])
                    client.close()
                    time.sleep(3600)
                def hi(self): return "hi"
            """
        let fixture = try ExecutorFixture(.sandbox, injectGrace: .milliseconds(50), policy: { $0.network = .full })
        try await fixture.load(script)
        for target in 3...8 {
            let outcome = await fixture.execute(
                "run", "{\"linger\": \(linger), \"target\": \(target)}", timeLimit: .seconds(2))
            // Pipes are no sockets, and the sockets take nothing in this direction.
            #expect(outcome.status == .failed, "\(target): \(outcome)")
            #expect(await fixture.execute("hi").data == "hi")
        }
        await fixture.executor.shutDown()
    }
}
