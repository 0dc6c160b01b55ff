import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import PythonEmbedding
import Sandbox
import Testing

/// What programs inherit that plugins start, whose output theirs is, and when they end.
@Suite(.serialized) struct ProgramTests {
    // MARK: What they inherit

    @Test(arguments: Tier.allCases)
    func noSignalIsBlockedOrIgnored(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(
            """
            import os, signal, subprocess
            class Plugin:
                def mask(self):
                    return sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, []))
                def terminate(self):
                    child = subprocess.Popen(["sleep", "3600"])
                    child.terminate()
                    return child.wait()
                def program(self):
                    return subprocess.run(["timeout", "1", "sleep", "3600"]).returncode
                def system(self):
                    os.system("for name in TERM CHLD ALRM USR1 USR2; do sh -c \\"kill -$name \\\\$\\\\$; "
                              "echo survived $name\\"; done")
            """)
        #expect(await fixture.execute("mask").data == "[]")
        #expect(await fixture.execute("terminate").data == "-15")
        #expect(await fixture.execute("program").data == "124")
        // The one whose default is to be ignored.
        #expect(await fixture.execute("system").stdout == "survived CHLD\n")
        await fixture.executor.shutDown()
    }

    /// The child ignores nothing, so that its programs don't either.
    @Test func brokenPipesEndProgramsOfTheSandbox() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(
            """
            import os
            class Plugin:
                def run(self): os.system("sh -c 'kill -PIPE $$; echo survived'")
            """)
        let outcome = await fixture.execute("run")
        #expect(outcome.status == .succeeded)
        #expect(outcome.stdout.isEmpty)
        await fixture.executor.shutDown()
    }

    // MARK: Their output

    @Test(arguments: Tier.allCases)
    func outputIsInOrder(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(
            """
            import os
            class Plugin:
                def order(self):
                    print("a")
                    os.system("echo b; echo error >&2")
                    print("c")
            """)
        let outcome = await fixture.execute("order")
        #expect(outcome.stdout == "a\nb\nc\n")
        #expect(outcome.data == "a\nb\nc\n")
        #expect(outcome.stderr == "error\n")
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases, [1, 2, 3])
    func outputBelongsToItsRun(_ tier: Tier, _ concurrency: Int) async throws {
        let fixture = try ExecutorFixture(tier, workers: concurrency)
        try await fixture.load(
            """
            import subprocess
            class Plugin:
                def number(self, n):
                    for _ in range(4):
                        subprocess.run(["sh", "-c", f"sleep 0.02; echo c{n}"], check=True)
            """, concurrency: concurrency)
        await withTaskGroup(of: (Int, Outcome).self) { group in
            for number in 0..<12 {
                group.addTask { (number, await fixture.execute("number", "{\"n\": \(number)}")) }
            }
            for await (number, outcome) in group {
                #expect(outcome.stdout == String(repeating: "c\(number)\n", count: 4), "\(outcome)")
            }
        }
        await fixture.executor.shutDown()
    }

    /// Whatever starts them.
    @Test(
        arguments: Tier.allCases,
        [
            "subprocess.call(['echo', 'x'])",
            "subprocess.run('echo x', shell=True, env={})",
            "subprocess.run('echo x >&2', shell=True, stderr=subprocess.STDOUT)",
            "subprocess.run('echo x >&2', shell=True, stderr=sys.stdout)",
            "subprocess.run(['echo', 'x'], stdout=sys.stdout, close_fds=False)",
            "subprocess.run(['echo', 'x'], close_fds=False, env=dict(os.environ))",
            "os.system(b'echo x')",
            "os.waitpid(os.posix_spawn('/bin/echo', ['echo', 'x'], os.environ), 0)",
            "os.waitpid(os.posix_spawnp('echo', ['echo', 'x'], {}), 0)",
            "os.spawnlp(os.P_WAIT, 'echo', 'echo', 'x')",
            "os.waitpid(os.spawnve(os.P_NOWAIT, '/bin/echo', ['echo', 'x'], {}), 0)",
            "print(os.popen('echo x').read(), end='')",
            "asyncio.run(self.ask())",
        ])
    func everyWayToStartThem(_ tier: Tier, _ statement: String) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(
            """
            import asyncio, os, subprocess, sys
            class Plugin:
                async def ask(self):
                    process = await asyncio.create_subprocess_exec("echo", "x")
                    await process.wait()
                def run(self):
                    \(statement)
            """)
        let outcome = await fixture.execute("run")
        #expect(outcome.status == .succeeded, "\(outcome)")
        #expect(outcome.stdout == "x\n")
        #expect(outcome.stderr.isEmpty)
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func whatIsNoTextIsReplaced(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(
            """
            import os
            class Plugin:
                def run(self):
                    os.system("printf 'a\\\\377b\\\\303'")
                    print("c")
            """)
        #expect(await fixture.execute("run").stdout == "a\u{FFFD}bc\n\u{FFFD}")
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func outputIsBounded(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier, outputLimit: 1000)
        try await fixture.load(
            """
            import os, subprocess
            class Plugin:
                def some(self): os.system("head -c 5000 /dev/zero | tr '\\\\0' x")
                def endless(self): subprocess.run(["cat", "/dev/zero"])
            """)
        let some = await fixture.execute("some")
        #expect(some.status == .succeeded)
        #expect(some.stdout == String(repeating: "x", count: 1000) + "\n[output cut after 1000 bytes]\n")
        #expect(await fixture.execute("endless").status == .outputLimit)
        await fixture.executor.shutDown()
    }

    // MARK: Their end

    /// The processes of the host that have been started with such an argument.
    private static func processes(withArgument argument: String) -> [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { id in
            guard let line = FileManager.default.contents(atPath: "/proc/\(id)/cmdline") else { return false }
            return line.split(separator: 0).contains { $0.elementsEqual(argument.utf8) }
        }
    }

    private static func count(withArgument argument: String) -> Int { processes(withArgument: argument).count }

    /// Something to sleep for that no other test does.
    private static func seconds() -> String { "36\(Int.random(in: 10_000_000...99_999_999))" }

    @Test(arguments: Tier.allCases, ["waits", "system", "spawned", "stubborn"])
    func aRunThatIsStoppedTakesThemAlong(_ tier: Tier, _ function: String) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(
            """
            import os, subprocess
            class Plugin:
                def waits(self, time):
                    return subprocess.run(["sh", "-c", f"sleep {time} & echo hi"], capture_output=True).returncode
                def system(self, time):
                    os.system(f"sleep {time}")
                def spawned(self, time):
                    os.spawnlp(os.P_WAIT, "sleep", "sleep", time)
                def stubborn(self, time):
                    subprocess.run(["sh", "-c", f"trap '' TERM; setsid env -i sleep {time} & sleep {time}"])
            """)
        let time = Self.seconds()
        // The injected exception has an hour's time: what ends it is the end of what it waits for.
        let outcome = await fixture.execute(function, "{\"time\": \"\(time)\"}", timeLimit: .milliseconds(500))
        #expect(outcome.status == .timedOut)
        #expect(outcome.error?.message.contains("(\(StopStep.childEnded.rawValue))") == false, "\(outcome)")
        try await eventually("they are gone") { Self.count(withArgument: time) == 0 }
        // The plugin goes on as it was.
        let another = await fixture.execute("waits", "{\"time\": \"0\"}")
        #expect(another.data == "0")
        await fixture.executor.shutDown()
    }

    @Test(arguments: Tier.allCases)
    func stoppingAllCallsTakesThemAlong(_ tier: Tier) async throws {
        let fixture = try ExecutorFixture(tier)
        try await fixture.load(
            """
            import subprocess
            class Plugin:
                def run(self, time): subprocess.run(["sleep", time])
            """)
        let time = Self.seconds()
        async let outcome = fixture.execute("run", "{\"time\": \"\(time)\"}")
        try await eventually("it runs") { Self.count(withArgument: time) == 1 }
        fixture.executor.stopCalls()
        #expect(await outcome.status == .interrupted)
        try await eventually("it is gone") { Self.count(withArgument: time) == 0 }
        await fixture.executor.shutDown()
    }

    private static let leaves = """
        import subprocess
        class Plugin:
            def leaves(self, time):
                subprocess.Popen(["sleep", time])
                return "left one"
        """

    @Test(arguments: [1, 2])
    func theSandboxKeepsNone(_ concurrency: Int) async throws {
        let fixture = try ExecutorFixture(.sandbox, policy: { $0.limits[.processes] = 32 })
        try await fixture.load(Self.leaves, concurrency: concurrency)
        let time = Self.seconds()
        for _ in 0..<50 {
            let outcome = await fixture.execute("leaves", "{\"time\": \"\(time)\"}")
            try #require(outcome.data == "left one", "\(outcome)")
            #expect(Self.count(withArgument: time) == 0)
        }
        await fixture.executor.shutDown()
    }

    /// One that the constructor started is the plugin's and not a run's.
    @Test func theSandboxKeepsWhatTheConstructorStarted() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(
            """
            import subprocess
            class Plugin:
                def __init__(self): self.cat = subprocess.Popen(["cat"], stdin=-1, stdout=-1, text=True)
                def ask(self, line):
                    subprocess.run(["true"])
                    print(line, file=self.cat.stdin, flush=True)
                    return self.cat.stdout.readline()
            """)
        for _ in 0..<3 { #expect(await fixture.execute("ask", "{\"line\": \"hello\"}").data == "hello\n") }
        await fixture.executor.shutDown()
    }

    @Test func theAgentsProcessKeepsThemUnlessToldOtherwise() async throws {
        let fixture = try ExecutorFixture(.inProcess)
        let time = Self.seconds()
        var image = fixture.image(Self.leaves)
        try await fixture.executor.load(image)
        #expect(await fixture.execute("leaves", "{\"time\": \"\(time)\"}").data == "left one")
        // A program's arguments are in /proc a moment after execve(2) has closed what Popen waits for.
        try await eventually("it runs") { Self.count(withArgument: time) == 1 }
        #expect(!ProgramEnd.runs(withProgramsOfAgent: getpid()).isEmpty)
        image.keepsPrograms = false
        try await fixture.executor.load(image)
        let other = Self.seconds()
        #expect(await fixture.execute("leaves", "{\"time\": \"\(other)\"}").data == "left one")
        try await eventually("it is gone") { Self.count(withArgument: other) == 0 }
        #expect(Self.count(withArgument: time) == 1)
        for process in Self.processes(withArgument: time) { kill(process, SIGKILL) }
        await fixture.executor.shutDown()
    }

    /// The next agent knows them by the runs that were cut off.
    @Test func whatAnEndedAgentsRunsLeftIsEnded() async throws {
        let (time, other) = (Self.seconds(), Self.seconds())
        let programs = try [(time, "1-x:run-\(time)"), (other, "1-x:run-\(other)")].map { time, mark in
            let program = Process()
            program.executableURL = URL(filePath: "/bin/sleep")
            program.arguments = [time]
            program.environment = [RunPrograms.variable: mark]
            try program.run()
            return program
        }
        // Started by a thread that has SIGTERM blocked, as it has then.
        defer { kill(programs[1].processIdentifier, SIGKILL) }
        try await eventually("they run") {
            Self.count(withArgument: time) == 1 && Self.count(withArgument: other) == 1
        }
        await ProgramEnd.endLeft(byRuns: ["none", "run-\(time)"])
        #expect(Self.count(withArgument: time) == 0)
        #expect(Self.count(withArgument: other) == 1)
    }
}
