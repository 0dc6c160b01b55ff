import Agent
import AgentModel
import AgentTestSupport
import Foundation
import SystemPackage
import Testing

/// An agent whose standard descriptors nobody reads, or that has none.
@Suite struct UnreadLogTests {
    /// A pipe with a name that this end holds open and doesn't read.
    private final class UnreadPipe {
        let path: String
        let descriptor: Int32

        init(_ folder: TemporaryFolder) throws {
            path = folder.path("unread")
            try #require(mkfifo(path, 0o600) == 0)
            descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
            try #require(descriptor >= 0)
        }

        deinit { close(descriptor) }

        /// Leaves no room in it.
        func fill() {
            var chunk = [UInt8](repeating: 0x20, count: 4096)
            while write(descriptor, &chunk, chunk.count) > 0 {}
        }

        func drained() -> String {
            var (text, chunk) = ([UInt8](), [UInt8](repeating: 0, count: 1 << 16))
            while case let count = read(descriptor, &chunk, chunk.count), count > 0 { text += chunk[..<count] }
            return String(decoding: text, as: UTF8.self)
        }
    }

    /// - Parameter redirections: of the shell that becomes the agent.
    private func run(
        _ backend: ScriptedBackend, _ folder: TemporaryFolder, redirections: String, settings: [String] = [],
        body: @escaping (pid_t) async throws -> Void
    ) async throws -> AgentProcess.Output {
        let settings = ["server_url=\(backend.server.url)", "auth=False", "poll_interval=3600"] + settings
        return try await AgentProcess.run(
            [], directory: folder.path,
            command: ["/bin/sh", "-c", "exec \"$0\" \"$@\" \(redirections)", AgentProcess.executable, "run"]
                + ["--log-level", "debug"] + settings.flatMap { ["--set", $0] }, body: body)
    }

    private func makeBackend(tasks: Int) throws -> ScriptedBackend {
        let backend = try ScriptedBackend()
        let list = (0..<tasks).map { number in
            #"{"id": "t\#(number)", "command": "good-plugin.hello", "cron": null, "arguments": "{}"}"#
        }
        backend.server.route("/api/agent/tasks", .json(#"{"data": [\#(list.joined(separator: ", "))]}"#))
        for number in 0..<tasks { backend.server.route("/api/agent/task/t\(number)", .json("{}", status: 201)) }
        return backend
    }

    private func delivered(_ backend: ScriptedBackend) -> Int {
        Set(backend.server.requests.filter { $0.method == "POST" }.map(\.target)).count
    }

    @Test func anUnreadLogHoldsNothingUp() async throws {
        let backend = try makeBackend(tasks: 500)
        let folder = try TemporaryFolder()
        let pipe = try UnreadPipe(folder)
        let output = try await run(backend, folder, redirections: "2>'\(pipe.path)'") { process in
            try await eventually("all results are delivered") { self.delivered(backend) == 500 }
            kill(process, SIGTERM)
        }
        #expect(output.status == 0)
        // More was logged than a pipe takes: whole lines up to 64 KiB.
        #expect(pipe.drained().utf8.count >= 60_000)
    }

    @Test func aSecondSignalEndsAnAgentWhoseLogIsUnread() async throws {
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let pipe = try UnreadPipe(folder)
        pipe.fill()
        backend.addPlugin(
            "p",
            script: """
                import time
                class Plugin:
                    def __init__(self, api): self.api = api
                    def long(self):
                        self.api.sendRequest("/started/long", "POST", {})
                        while True: time.sleep(0.05)
                """, functions: ["long"])
        backend.server.route("/api/started/long", .json(#"{"data": null}"#))
        backend.addTask(#"{"id": "long", "command": "p.long", "cron": null, "arguments": "{}"}"#)
        let output = try await run(
            backend, folder, redirections: "2>'\(pipe.path)'", settings: ["shutdown_grace=3600"]
        ) { process in
            await backend.server.request(to: "/api/started/long")
            kill(process, SIGTERM)
            kill(process, SIGINT)
        }
        #expect([128 + SIGTERM, 128 + SIGINT].contains(output.status))
    }

    @Test(arguments: ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
    func closedDescriptorsAreNoOtherFiles(_ redirections: String) async throws {
        let backend = try makeBackend(tasks: 5)
        let folder = try TemporaryFolder()
        let output = try await run(backend, folder, redirections: redirections) { process in
            try await eventually("all results are delivered") { self.delivered(backend) == 5 }
            for descriptor in 0...2 {
                let target = try? FileManager.default.destinationOfSymbolicLink(
                    atPath: "/proc/\(process)/fd/\(descriptor)")
                // Not a socket to the backend and not the journal.
                let isOurs = target?.hasSuffix("/stdout") == true || target?.hasSuffix("/stderr") == true
                #expect(target == "/dev/null" || isOurs, "\(descriptor): \(target ?? "-")")
            }
            kill(process, SIGTERM)
        }
        #expect(output.status == 0, "\(output.stderr)")
    }
}
