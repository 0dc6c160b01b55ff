import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import Sandbox
import Testing

/// What a sandboxed plugin finds of the agent: nothing.
@Suite struct SandboxSecretsTests {
    private static let script = """
        import os, stat
        class Plugin:
            def environment(self): return dict(os.environ)
            def program_environment(self):
                import subprocess
                return subprocess.run(["/usr/bin/env"], capture_output=True, text=True).stdout
            def descriptors(self):
                found = {}
                for number in range(1024):
                    try: mode = os.fstat(number).st_mode
                    except OSError: continue
                    for kind in ("SOCK", "FIFO", "CHR", "REG", "DIR", "LNK", "BLK"):
                        if getattr(stat, "S_IS" + kind)(mode): found[number] = kind
                return found
            def inherited(self):
                # As C code starts programs: Python's own closes what it doesn't know.
                script = "for n in $(seq 0 64); do (: <&$n) 2>/dev/null && echo $n; done"
                reading, writing = os.pipe()
                child = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ,
                                       file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
                os.close(writing)
                with os.fdopen(reading) as file: found = [int(line) for line in file]
                os.waitpid(child, 0)
                return found
            def read(self, path):
                try:
                    with open(path) as file: return file.read()
                except OSError as error: return type(error).__name__
            def list(self, path):
                try: return os.listdir(path)
                except OSError as error: return type(error).__name__
            def write(self, path):
                try:
                    with open(path, "w") as file: file.write("x")
                    return "written"
                except OSError as error: return type(error).__name__
            def user(self):
                # Fails where its user has no place in its namespace.
                open("own", "w").close()
                os.chown("own", os.getuid(), os.getgid())
                return [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]
        """

    private static func run(
        _ fixture: ExecutorFixture, _ function: String, _ path: String? = nil, of id: PluginID? = nil
    ) async -> String? {
        await fixture.execute(function, path.map { "{\"path\": \"\($0)\"}" } ?? "{}", of: id).data
    }

    @Test func environmentIsClean() async throws {
        setenv("RUNBOOK_TEST_SECRET", "hunter2", 1)
        let fixture = try ExecutorFixture(.sandbox, policy: { $0.environment = ["COLOUR": "blue"] })
        try await fixture.load(Self.script)
        let text = try #require(await Self.run(fixture, "environment"))
        let values = try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
        // LC_CTYPE is Python's own doing (PEP 538).
        let names = Set(values.keys).subtracting(["LC_CTYPE"])
        #expect(names == ["PATH", "LANG", "HOME", "TMPDIR", "MALLOC_ARENA_MAX", "SWIFT_BACKTRACE", "COLOUR"])
        #expect(values["COLOUR"] == "blue")
        #expect(await Self.run(fixture, "program_environment")?.contains("hunter2") == false)
        await fixture.executor.shutDown()
    }

    /// Nothing to read, two pipes for output, a pipe and a socket each for control and the only call, and a pipe for where its
    /// threads are in their code. There are none for requests, which the policy doesn't allow. And both ends of a pipe of
    /// its own, through which a copy of it tells where its threads are.
    @Test func descriptorsAreItsOwn() async throws {
        // Without close-on-exec, as a library of the agent's may leave one.
        let folder = try TemporaryFolder()
        let leaked = open(folder.path("secret"), O_RDWR | O_CREAT, 0o600)
        defer { close(leaked) }
        let fixture = try ExecutorFixture(.sandbox)
        try await fixture.load(Self.script)
        let text = try #require(await Self.run(fixture, "descriptors"))
        let found = try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
        let given = found.filter { (Int($0.key) ?? 0) < 10 }
        #expect(
            given == [
                "0": "CHR", "1": "FIFO", "2": "FIFO", "3": "FIFO", "4": "CHR", "5": "FIFO", "6": "SOCK", "7": "CHR",
                "8": "SOCK", "9": "FIFO",
            ])
        #expect(found.filter { given[$0.key] == nil }.values.sorted() == ["FIFO", "FIFO"], "\(found)")
        // Nor does what it starts get more than it would from a shell.
        #expect(await Self.run(fixture, "inherited") == "[0, 1, 2]")
        await fixture.executor.shutDown()
    }

    @Test func filesOutsideOfThePolicy() async throws {
        let allowed = try TemporaryFolder()
        let secret = try TemporaryFolder()
        for folder in [allowed, secret] {
            chmod(folder.path, 0o755)
            try Data("content".utf8).write(to: folder.url.appending(path: "file"))
            chmod(folder.path("file"), 0o644)
        }
        try FileManager.default.createSymbolicLink(
            atPath: allowed.path("link"), withDestinationPath: secret.path("file"))
        let fixture = try ExecutorFixture(.sandbox, policy: { $0.readPaths = [allowed.path] })
        try await fixture.load(Self.script)
        #expect(await Self.run(fixture, "read", allowed.path("file")) == "content")
        #expect(await Self.run(fixture, "write", allowed.path("file")) != "written")
        let refused = [
            secret.path("file"), allowed.path("link"), "/etc/shadow", "/etc/hostname", "/proc/self/environ",
            "/proc/1/environ", "/proc/\(getpid())/environ", "/proc/\(getpid())/maps", #filePath,
        ]
        for path in refused {
            let text = await Self.run(fixture, "read", path)
            #expect(["PermissionError", "FileNotFoundError"].contains(text ?? ""), "\(path): \(text ?? "nil")")
        }
        for path in ["/", "/proc", "/tmp", "/home", "/root", secret.path] {
            #expect(await Self.run(fixture, "list", path) == "PermissionError", "\(path)")
        }
        for path in ["/tmp/x", "/etc/x", "/usr/x", "/var/tmp/x", secret.path("file")] {
            #expect(await Self.run(fixture, "write", path) != "written", "\(path)")
        }
        await fixture.executor.shutDown()
    }

    @Test func scratchFoldersAreApart() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: other)
        #expect(await Self.run(fixture, "write", "mine") == "written")
        #expect(await Self.run(fixture, "read", "mine") == "x")
        #expect(await Self.run(fixture, "write", "/dev/shm/mine") == "written")
        #expect(await Self.run(fixture, "read", "mine", of: other) == "FileNotFoundError")
        #expect(await Self.run(fixture, "read", "/dev/shm/mine", of: other) == "FileNotFoundError")
        #expect(!FileManager.default.fileExists(atPath: "/dev/shm/mine"))
        await fixture.executor.shutDown()
    }

    /// Where the agent is root, each child is someone else, and no one that another process is.
    @Test(
        .enabled(if: geteuid() == 0, "it needs root"),
        .disabled(if: Sanitizer.isThread, "its thread keeps a process from a user namespace"))
    func userIsItsOwn() async throws {
        let fixture = try ExecutorFixture(.sandbox)
        let other = try ExecutorFixture.newID("beside")
        try await fixture.load(Self.script)
        try await fixture.load(Self.script, id: other)
        for (id, name) in [(fixture.id, "one"), (other, "other")] {
            #expect(await Self.run(fixture, "write", fixture.folder.path(name), of: id) == "written")
            // As it sees itself: programs look their user up.
            #expect(await Self.run(fixture, "user", of: id) == "[65534, 65534, 65534, []]")
        }
        let users = try ["one", "other"].map { name in
            try FileManager.default.attributesOfItem(atPath: fixture.folder.path(name))[.ownerAccountID] as? Int ?? 0
        }
        #expect(users[0] != users[1])
        for user in users { #expect(user >= 0x7000_0000) }
        await fixture.executor.shutDown()
    }
}
