import AgentTestSupport
import Foundation
import Testing

/// Names are resolved in the sandbox where the policy allows it: by a name server of the test's own, in a network and with
/// a resolv.conf of its own.
@Suite struct SandboxNamesTests {
    /// Answers every question for an IPv4 address with 192.0.2.7, over TCP and UDP. Its agent runs it unconfined.
    private static let server = """
        import fcntl, socket, struct, threading
        class Plugin:
            def serve(self, ready):
                control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                # SIOCSIFFLAGS: the loopback interface of a new network is down.
                fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x49))
                self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self.datagrams.bind(("127.0.0.1", 53))
                self.streams = socket.create_server(("127.0.0.1", 53))
                threading.Thread(target=self.serve_datagrams, daemon=True).start()
                open(ready, "w").close()
                while True:
                    connection, _ = self.streams.accept()
                    threading.Thread(target=self.serve_stream, args=(connection,), daemon=True).start()
            def answer(self, question):
                end = question.index(b"\\0", 12) + 5
                kind = struct.unpack(">H", question[end - 4:end - 2])[0]
                found = kind == 1
                head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if found else 0, 0, 0)
                record = b"\\xc0\\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7])
                return head + question[12:end] + (record if found else b"")
            def serve_datagrams(self):
                while True:
                    question, address = self.datagrams.recvfrom(4096)
                    self.datagrams.sendto(self.answer(question), address)
            def serve_stream(self, connection):
                while True:
                    size = connection.recv(2, socket.MSG_WAITALL)
                    if len(size) < 2: return
                    answer = self.answer(connection.recv(struct.unpack(">H", size)[0], socket.MSG_WAITALL))
                    connection.sendall(struct.pack(">H", len(answer)) + answer)
        """
    private static let client = """
        import socket
        class Plugin:
            def resolve(self):
                try: return socket.gethostbyname("host.example.test")
                except OSError as error: return type(error).__name__
        """
    private static let unshare = "/usr/bin/unshare"

    /// Whether this process may have a network of its own.
    private static let isPossible = geteuid() == 0 && TemporaryMount.isPossible && access(unshare, X_OK) == 0

    @Test(
        .enabled(if: isPossible, "it needs root and a network namespace"),
        arguments: [
            ("dns,tcp:443", "192.0.2.7"), ("full", "192.0.2.7"), ("tcp:443", "gaierror"), ("none", "gaierror"),
        ])
    func namesAreResolvedAsThePolicyAllows(_ network: String, _ expected: String) async throws {
        let folder = try TemporaryFolder()
        try Self.server.write(toFile: folder.path("server.py"), atomically: true, encoding: .utf8)
        try Self.client.write(toFile: folder.path("client.py"), atomically: true, encoding: .utf8)
        try "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n".write(
            toFile: folder.path("resolv.conf"), atomically: true, encoding: .utf8)
        chmod(folder.path, 0o755)
        let agent = AgentProcess.executable
        let settings = "--set server_url=http://127.0.0.1:9 --set auth=False"
        // One shell in the new namespaces: the server beside it, then the question.
        let script = """
            set -e
            mount --bind \(folder.path("resolv.conf")) /etc/resolv.conf
            \(agent) plugin call \(folder.path("server.py")) serve --arguments '{"ready": "\(folder.path("ready"))"}' \
                \(settings) >/dev/null 2>&1 &
            server=$!
            trap 'kill -9 $server' EXIT
            while [ ! -e \(folder.path("ready")) ]; do kill -0 $server; sleep 0.01; done
            \(agent) plugin call \(folder.path("client.py")) resolve \(settings) --json \
                --set isolation=sandbox --config \(folder.path("config.ini"))
            """
        try "[agent]\nserver_url=http://127.0.0.1:9\nauth=False\n[sandbox]\nnetwork=\(network)\n".write(
            toFile: folder.path("config.ini"), atomically: true, encoding: .utf8)
        let output = try await AgentProcess.run(
            [], environment: ["PATH": "/usr/bin:/bin"], directory: folder.path,
            command: [Self.unshare, "--net", "--mount", "/bin/sh", "-c", script])
        #expect(output.status == 0, "\(output.stderr)")
        #expect(try output.jsonLines().first?["data"] as? String == expected, "\(output.stdout)\(output.stderr)")
    }
}
