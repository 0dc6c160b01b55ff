import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import Sandbox
import Testing

/// Nothing that a plugin started is left when its process is ended, whichever way it tries to get away.
///
/// Each of those processes has the read end of a FIFO open, which the test holds the other end of: writing to it fails
/// (pipe(7)) only when the last of them is gone.
@Suite struct SandboxSurvivorTests {
    private static let script = """
        \(Gates.script)
        import ctypes, os, signal, subprocess, sys, time
        def linger():
            open(os.path.join(os.path.dirname(__file__), "there"), "a").close()
            while True: time.sleep(3600)
        class Plugin:
            def __init__(self): self.fifo = os.open(os.path.join(os.path.dirname(__file__), "fifo"), os.O_RDONLY)
            def setsid(self):
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
                        linger()
                    os._exit(0)
            def ignores(self):
                if os.fork() == 0:
                    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
                    linger()
            def program(self):
                subprocess.Popen(
                    ["sh", "-c", 'trap "" TERM HUP; : > "$0"; while :; do sleep 3600; done',
                     os.path.join(os.path.dirname(__file__), "there")],
                    start_new_session=True, pass_fds=[self.fifo])
            def bomb(self):
                if os.fork() == 0:
                    open(os.path.join(os.path.dirname(__file__), "there"), "a").close()
                    while True:
                        try: os.fork()
                        except OSError: pass
            def runner(self):
                # Each lives no longer than it takes to start the next.
                if os.fork() == 0:
                    os.setsid()
                    open(os.path.join(os.path.dirname(__file__), "there"), "a").close()
                    while True:
                        try:
                            if os.fork(): os._exit(0)
                        except OSError: pass
            def crash(self): os.kill(os.getpid(), signal.SIGSEGV); time.sleep(60)
            def hang(self): sum(range(10 ** 12))
        """

    enum End: String, CaseIterable, Sendable {
        case crash, timeLimit, unload, shutDown
    }

    /// Where the kernel ends them with their namespace, and where the process between them and the agent has to.
    enum Host: String, CaseIterable, Sendable {
        case namespaces, sweep

        var host: SandboxHost {
            var host = SandboxHost(executable: ExecutorFixture.agent)
            if self == .sweep { host.withheld = [.pidNamespace] }
            return host
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let start: String
        let end: End
        let host: Host
        var testDescription: String { "\(start), \(end), \(host)" }
    }

    private static let cases = ["setsid", "ignores", "program", "bomb", "runner"].flatMap { start in
        End.allCases.flatMap { end in Host.allCases.map { Case(start: start, end: end, host: $0) } }
    }

    @Test(arguments: cases)
    func nothingIsLeft(_ testCase: Case) async throws {
        let fixture = try ExecutorFixture(
            .sandbox, injectGrace: .milliseconds(20), shutdownLimit: .seconds(5), host: testCase.host.host)
        let fifo = fixture.folder.path("fifo")
        try #require(mkfifo(fifo, 0o666) == 0)
        chmod(fifo, 0o666)
        // Held open for reading until the plugin does that: without a reader it can't be opened for writing.
        let reader = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        let end = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(end) }
        try await fixture.load(Self.script)
        // Or the end of the run would end it, before it is there.
        fixture.executor.configure(fixture.id, concurrency: 1, timeLimit: nil, keepsPrograms: true)
        close(reader)
        #expect(Self.hasReader(end))
        #expect(await fixture.execute(testCase.start).status == .succeeded)
        try await eventually("what it starts") { FileManager.default.fileExists(atPath: fixture.folder.path("there")) }
        switch testCase.end {
        case .crash: #expect(await fixture.execute("crash").status == .crashed)
        case .timeLimit:
            #expect(await fixture.execute("hang", timeLimit: .milliseconds(200)).status == .timedOut)
        case .unload: _ = await fixture.executor.unload(fixture.id)
        case .shutDown: await fixture.executor.shutDown()
        }
        // The fresh process, which has the FIFO open too, ends with the executor.
        await fixture.executor.shutDown()
        // What another test forks has all descriptors of this one until it executes; what is left would have it for good.
        try await eventually("nothing has it open", within: .seconds(60)) { !Self.hasReader(end) }
    }

    /// FIFOs without a reader break (pipe(7)).
    private static func hasReader(_ descriptor: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = poll(&entry, 1, 0)
        return entry.revents & Int16(POLLERR) == 0
    }

    /// The executor's threads, descriptors and processes, counted in a process of its own.
    @Test func executorLeavesNothing() async {
        await #expect(processExitsWith: .success) {
            func round() async throws {
                let fixture = try ExecutorFixture(.sandbox, workers: 3, idleTimeout: .milliseconds(50))
                try await fixture.load(
                    "class Plugin:\n    def run(self): return 1\n    def crash(self):\n        import os; os._exit(1)")
                guard await fixture.execute("run").data == "1" else { _exit(2) }
                guard await fixture.execute("crash").status == .crashed else { _exit(3) }
                await fixture.executor.shutDown()
            }
            // Once, for what stays for good: also what sleeping below takes.
            try await round()
            try await Task.sleep(for: .milliseconds(1))
            let descriptors = try descriptorCount()
            for _ in 0..<3 { try await round() }
            guard waitpid(-1, nil, WNOHANG) == -1, errno == ECHILD else { _exit(4) }
            // Threads end, and let go of what they use, after they were told to.
            do { try await eventually("no more descriptors") { try descriptorCount() <= descriptors } } catch {
                _exit(5)
            }
            do { try await eventually("the threads' end") { try sandboxThreadCount() == 0 } } catch { _exit(6) }
        }
    }

    @Test func withoutNamespacesTheLevelSaysSo() async throws {
        var host = SandboxHost(mode: .prefer, executable: ExecutorFixture.agent)
        host.withheld = [.userNamespace, .mountNamespace]
        let fixture = try ExecutorFixture(.sandbox, host: host)
        try await fixture.load("class Plugin:\n    def run(self): return 1")
        let outcome = await fixture.execute("run")
        #expect(outcome.data == "1")
        #expect(
            outcome.isolation.text.hasPrefix("sandbox-partial (without ") && outcome.isolation.text.contains("scratch"))
        await fixture.executor.shutDown()
        host.mode = .require
        let strict = try ExecutorFixture(.sandbox, host: host)
        let error = await #expect(throws: PluginExecutionError.self) {
            try await strict.load("class Plugin:\n    def run(self): return 1")
        }
        #expect(error?.code == "sandbox.unavailable")
        #expect(error?.message.contains("\"scratch\"") == true)
        await strict.executor.shutDown()
    }
}
