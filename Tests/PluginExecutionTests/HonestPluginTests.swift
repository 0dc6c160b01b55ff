import AgentModel
import AgentTestSupport
import Foundation
import PluginExecution
import Sandbox
import Testing

/// What plugins that mean well use of Python and of the system works in the sandbox.
@Suite struct HonestPluginTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        /// The body of the method; what it returns is expected to be `true`.
        let body: String
        var network = SandboxNetwork.none
        var memory = 256 << 20
        var hasProc = false
        var testDescription: String { name }

        var forks: Bool { body.contains("multiprocessing") }
    }

    private static let cases = allCases.filter { !(Sanitizer.isThread && $0.forks) }

    private static let allCases = [
        Case(
            name: "git, where the host has a configuration for all",
            body: """
                import os, shutil, subprocess
                if not shutil.which("git"): return True
                shutil.rmtree("repository", ignore_errors=True)
                def git(*words):
                    return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd="repository",
                                          check=True, capture_output=True, text=True).stdout
                os.mkdir("repository")
                git("init", "-q")
                open("repository/file", "w").close()
                git("add", "file")
                git("commit", "-q", "-m", "first")
                return git("log", "--format=%s").strip() == "first"
                """),
        Case(
            name: "programs that look at the machine and at processes",
            body: """
                import os, shutil, subprocess
                outputs = {}
                for words in (["free"], ["uptime"], ["ps", "-e", "-o", "pid=,comm="]):
                    if not shutil.which(words[0]): continue
                    made = subprocess.run(words, capture_output=True, text=True)
                    outputs[words[0]] = made.stdout
                    if made.returncode != 0: raise RuntimeError((words, made.stdout, made.stderr))
                numbers = [int(line.split()[0]) for line in outputs.get("ps", "").splitlines()]
                return all(number < 1000 for number in numbers) and "Mem:" in outputs.get("free", "Mem:")
                """, hasProc: true),
        Case(
            name: "what psutil reads",
            body: """
                import os
                for name in ("stat", "meminfo", "vmstat", "cpuinfo", "uptime", "loadavg", "filesystems", "self/mounts",
                             "self/status", "self/stat", "self/smaps", "self/io", "self/net/dev", "self/task"):
                    path = "/proc/" + name
                    text = os.listdir(path) if os.path.isdir(path) else open(path).read()
                    if not text: raise RuntimeError(name)
                return os.path.basename(os.readlink("/proc/self/exe")) != ""
                """, hasProc: true),
        Case(
            name: "process substitution and /dev/fd",
            body: """
                import os, shutil, subprocess
                reading, writing = os.pipe()
                os.write(writing, b"through")
                os.close(writing)
                with open(f"/dev/fd/{reading}", "rb") as file: text = file.read()
                os.close(reading)
                bash = shutil.which("bash")
                made = subprocess.run([bash, "-c", "cat <(echo hello)"], capture_output=True) if bash else None
                return text == b"through" and (made is None or made.stdout == b"hello\\n")
                """, hasProc: true),
        Case(
            name: "threads",
            body: """
                import concurrent.futures
                with concurrent.futures.ThreadPoolExecutor(16) as pool:
                    return sum(pool.map(lambda x: x * x, range(100))) == 328350
                """),
        Case(
            name: "subprocess",
            body: """
                import subprocess
                made = subprocess.run(["sh", "-c", "tr a-z A-Z | cat; exit 3"], input=b"abc", capture_output=True)
                return made.stdout == b"ABC" and made.returncode == 3
                """),
        Case(
            name: "output of a program",
            body: """
                import subprocess
                return subprocess.run(["echo", "hello"]).returncode == 0
                """),
        Case(
            name: "certificates of the system, one by one",
            body: """
                import glob, ssl
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                for path in glob.glob("/etc/ssl/certs/*.0")[:5]: context.load_verify_locations(path)
                return len(context.get_ca_certs()) == 5
                """),
        Case(
            name: "certificates of the system's bundle",
            body: """
                import ssl
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations("/etc/ssl/certs/ca-certificates.crt")
                return len(context.get_ca_certs()) > 50
                """),
        Case(
            name: "a name of the hosts file",
            body: """
                import socket
                return any(a[4][0] in ("127.0.0.1", "::1") for a in socket.getaddrinfo("localhost", 80))
                """, network: .ports([443...443], resolvesNames: true)),
        Case(
            name: "sqlite3",
            body: """
                import sqlite3
                with sqlite3.connect("x.sqlite") as database:
                    database.execute("PRAGMA journal_mode=WAL")
                    database.execute("CREATE TABLE t (a)")
                    database.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1000)])
                return sqlite3.connect("x.sqlite").execute("SELECT sum(a) FROM t").fetchone()[0] == 499500
                """),
        Case(
            name: "asyncio",
            body: """
                import asyncio
                async def run():
                    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
                    out, _ = await process.communicate(b"abc")
                    results = await asyncio.gather(*(asyncio.sleep(0, n) for n in range(10)))
                    return out == b"abc" and process.returncode == 0 and sum(results) == 45
                return asyncio.run(run())
                """),
        Case(
            name: "tempfile",
            body: """
                import os, tempfile
                with tempfile.NamedTemporaryFile("w+") as file, tempfile.TemporaryDirectory() as folder:
                    file.write("abc"); file.seek(0)
                    os.rename(file.name, folder + "/x"); os.symlink(folder + "/x", file.name)
                    return file.read() == "abc" and os.path.realpath(file.name) == folder + "/x"
                """),
        Case(
            name: "zoneinfo",
            body: """
                import datetime, zoneinfo
                zone = zoneinfo.ZoneInfo("Europe/Berlin")
                return datetime.datetime(2026, 7, 1, tzinfo=zone).utcoffset() == datetime.timedelta(hours=2)
                """),
        Case(
            name: "ctypes",
            body: """
                import ctypes
                callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
                values = (ctypes.c_int * 3)(3, 1, 2)
                ctypes.CDLL(None).qsort(values, 3, ctypes.sizeof(ctypes.c_int), callback(lambda a, b: a[0] - b[0]))
                return list(values) == [1, 2, 3]
                """),
        Case(
            name: "a pool of processes",
            body: """
                import multiprocessing
                with multiprocessing.get_context("fork").Pool(2) as pool: return pool.map(abs, [-1, -2]) == [1, 2]
                """),
        Case(
            name: "a process with a queue and shared memory",
            body: """
                import multiprocessing, multiprocessing.shared_memory
                context = multiprocessing.get_context("fork")
                memory = multiprocessing.shared_memory.SharedMemory(create=True, size=16)
                queue, lock = context.Queue(), context.Lock()
                def work():
                    with lock: memory.buf[0] = 7
                    queue.put("done")
                process = context.Process(target=work)
                process.start()
                answer = queue.get()
                process.join()
                value = memory.buf[0]
                memory.close(); memory.unlink()
                return answer == "done" and value == 7 and process.exitcode == 0
                """),
        Case(
            name: "processes that are spawned",
            body: """
                import multiprocessing
                with multiprocessing.get_context("spawn").Pool(1) as pool: return pool.map(abs, [-1, -2]) == [1, 2]
                """),
        Case(
            name: "copies with their times",
            body: """
                import os, shutil
                open("a", "w").close(); os.utime("a", (1, 1)); os.chmod("a", 0o640)
                shutil.copy2("a", "b")
                return os.stat("b").st_mtime == 1 and os.stat("b").st_mode & 0o777 == 0o640
                """),
        Case(
            name: "signals of its own",
            body: """
                import os, signal, subprocess
                process = subprocess.Popen(["sleep", "3600"])
                process.terminate()
                return process.wait() == -signal.SIGTERM
                """),
        Case(
            name: "names of users",
            body: """
                import grp, pwd
                return pwd.getpwuid(0).pw_name == "root" and grp.getgrgid(0).gr_name == "root"
                """),
        Case(
            name: "a server on loopback",
            body: """
                import socket, threading
                server = socket.create_server(("127.0.0.1", 0))
                threading.Thread(target=lambda: server.accept()[0].sendall(b"x")).start()
                return socket.create_connection(server.getsockname()).recv(1) == b"x"
                """, network: .full),
        Case(
            name: "UDP on loopback",
            body: """
                import socket
                one, two = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
                one.bind(("127.0.0.1", 0))
                two.sendto(b"x", one.getsockname())
                return one.recv(1) == b"x"
                """, network: .full),
    ]

    private static func script(_ body: String) -> String {
        """
        class Plugin:
            def run(self, port=0):
                \(body.replacing("\n", with: "\n        "))
        """
    }

    @Test(arguments: cases)
    func works(_ testCase: Case) async throws {
        let fixture = try ExecutorFixture(
            .sandbox,
            policy: {
                $0.network = testCase.network
                $0.limits[.memory] = testCase.memory
                $0.hasProc = testCase.hasProc
            })
        try await fixture.load(Self.script(testCase.body))
        // Twice: what the first leaves must not be in the second one's way.
        for _ in 0..<(testCase.name == "sqlite3" ? 1 : 2) {
            let outcome = await fixture.execute("run")
            #expect(outcome.data == "true", "\(outcome)")
        }
        await fixture.executor.shutDown()
    }

    // MARK: The network

    /// A port of this host that takes connections.
    private final class Listener: Sendable {
        let descriptor: Int32
        let port: UInt16

        init() throws {
            descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let descriptor = descriptor
            let result = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    bind(descriptor, address, size) == 0 && listen(descriptor, 16) == 0
                        && getsockname(descriptor, address, &size) == 0
                }
            }
            try #require(result)
            port = UInt16(bigEndian: address.sin_port)
        }

        deinit { close(descriptor) }
    }

    private static let connecting = """
        import socket
        try:
            socket.create_connection(("127.0.0.1", port), 60).close()
            return "connected"
        except OSError as error: return type(error).__name__
        """

    @Test func onlyThePortThatIsAllowed() async throws {
        let (allowed, other) = (try Listener(), try Listener())
        let network = SandboxNetwork.ports([allowed.port...allowed.port], resolvesNames: false)
        for (network, expected) in [
            (network, ["connected", "PermissionError"]), (.full, ["connected", "connected"]),
            (.none, ["PermissionError", "PermissionError"]),
        ] {
            let fixture = try ExecutorFixture(.sandbox, policy: { $0.network = network })
            try await fixture.load(Self.script(Self.connecting))
            let answers = [
                await fixture.execute("run", "{\"port\": \(allowed.port)}").data,
                await fixture.execute("run", "{\"port\": \(other.port)}").data,
            ]
            #expect(answers == expected, "\(network)")
            await fixture.executor.shutDown()
        }
    }

    private static let nmap = ["/usr/bin/nmap", "/usr/local/bin/nmap"].first { (path: String) in access(path, X_OK) == 0
    }

    /// `make test` installs it: there its absence is a failure.
    private static let hasNmap = nmap != nil || ProcessInfo.processInfo.environment["CI"] != nil

    @Test(.enabled(if: hasNmap, "it needs nmap: apt-get install nmap")) func scanOfAPort() async throws {
        let listener = try Listener()
        let fixture = try ExecutorFixture(.sandbox, policy: { $0.network = .full })
        try await fixture.load(
            Self.script(
                """
                import subprocess
                made = subprocess.run(
                    ["nmap", "-sT", "-Pn", "-n", "-oG", "-", "-p", str(port), "127.0.0.1"], capture_output=True, text=True)
                return made.stdout + made.stderr
                """))
        let outcome = await fixture.execute("run", "{\"port\": \(listener.port)}")
        #expect(outcome.data?.contains("\(listener.port)/open/tcp") == true, "\(outcome)")
        await fixture.executor.shutDown()
    }
}
