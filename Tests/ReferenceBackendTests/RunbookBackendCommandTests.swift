import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Testing

/// The `runbook-backend` executable, as a process.
@Suite struct RunbookBackendCommandTests {
    private struct Served {
        var process: BackendProcess
        var url: String
        var token: String?
    }

    /// Starts `serve` and waits for the line that says where it listens.
    private func serve(_ data: String, _ more: String...) async throws -> Served {
        let process = try BackendProcess(
            ["serve", "--auth", "none", "--listen", "127.0.0.1:0", "--data", data] + more)
        var token: String?
        for await line in process.lines {
            let last = String(line.split(separator: " ").last ?? "")
            if line.hasPrefix("administration token") { token = last }
            if line.hasPrefix("runbook-backend listens on ") {
                return Served(process: process, url: last, token: token)
            }
        }
        Issue.record("it never listened: \(try process.standardError())")
        throw CancellationError()
    }

    private func get(_ client: HTTPClient, _ url: String, token: String? = nil) async throws -> HTTPResponse {
        let headers = token.map { [HTTPHeader(name: "Authorization", value: "Bearer \($0)", isSecret: true)] }
        return try await client.send(HTTPRequest(url: try HTTPURL(url), headers: headers ?? []))
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func serveListensAnswersAndStopsAtASignalWithAConnectionOpen(signal: Int32) async throws {
        let folder = try TemporaryFolder()
        let client = try HTTPClient()
        let served = try await serve(folder.path("data"), "--init", "--seed", QuickstartSeed.folder.path)
        let agent = try await get(client, served.url + "/api/agent")
        #expect(agent.status == 200)
        #expect(String(decoding: agent.body, as: UTF8.self).contains(QuickstartSeed.agentID))
        let token = try #require(served.token)
        #expect(try await get(client, served.url + "/admin/api/agents", token: token).status == 200)

        served.process.signal(signal)
        #expect(try await served.process.exitStatus() == 0)
        #expect(await served.process.lines.first { _ in true } == "runbook-backend stopped")

        let again = try await serve(folder.path("data"))
        #expect(again.token == nil)
        #expect(try await get(client, again.url + "/admin/api/agents", token: token).status == 200)
        again.process.signal(SIGTERM)
        #expect(try await again.process.exitStatus() == 0)
    }

    @Test func aLogThatNobodyReadsKeepsServeFromNothing() async throws {
        let folder = try TemporaryFolder()
        let pipe = folder.path("unread")
        try #require(mkfifo(pipe, 0o600) == 0)
        let descriptor = open(pipe, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        defer { close(descriptor) }
        var chunk = [UInt8](repeating: 0x20, count: 4096)
        while write(descriptor, &chunk, chunk.count) > 0 {}
        let process = try BackendProcess(
            [
                "serve", "--init", "--auth", "none", "--listen", "127.0.0.1:0", "--data", folder.path("data"),
                "--log-level",
            ]
                + ["trace", "--seed", QuickstartSeed.folder.path], errors: pipe)
        let client = try HTTPClient()
        for await line in process.lines where line.hasPrefix("runbook-backend listens on ") {
            let url = String(line.split(separator: " ").last ?? "")
            for _ in 0..<20 { #expect(try await get(client, url + "/api/agent").status == 200) }
            break
        }
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 0)
    }

    @Test(arguments: [[0], [1], [2], [0, 1, 2]])
    func serveWithoutStandardDescriptorsIsNoOtherThanWithThem(closed: [Int32]) async throws {
        let folder = try TemporaryFolder()
        // Where it listens can't be said without descriptor 1.
        let port = try ReservedPort.take()
        let process = try BackendProcess(
            ["serve", "--init", "--auth", "none", "--listen", "127.0.0.1:\(port)", "--data"]
                + [folder.path("data")],
            closed: closed)
        let client = try HTTPClient()
        try await eventually("it answers") {
            (try? await get(client, "http://127.0.0.1:\(port)/api/agent")) != nil
        }
        for descriptor in closed {
            let target = try FileManager.default.destinationOfSymbolicLink(
                atPath: "/proc/\(process.processID)/fd/\(descriptor)")
            #expect(target == "/dev/null")
        }
        process.signal(SIGTERM)
        #expect(try await process.exitStatus() == 0)
    }

    @Test func tokenResetReplacesTheTokenUnderARunningServer() async throws {
        let folder = try TemporaryFolder()
        let client = try HTTPClient()
        let served = try await serve(folder.path("data"), "--init")
        let reset = try await CommandResult.of("token", "reset", "--data", folder.path("data"))
        #expect(reset.status == 0)
        let new = try #require(reset.output.first)
        #expect(reset.output.count == 1)
        let old = try #require(served.token)
        #expect(try await get(client, served.url + "/admin/api/agents", token: old).status == 401)
        #expect(try await get(client, served.url + "/admin/api/agents", token: new).status == 200)
        served.process.signal(SIGTERM)
        #expect(try await served.process.exitStatus() == 0)
    }

    @Test func aNewTokenIsJSONWhereThatIsAskedFor() async throws {
        let folder = try TemporaryFolder()
        let served = try await serve(folder.path("data"), "--init")
        let reset = try await CommandResult.of("token", "reset", "--json", "--data", folder.path("data"))
        let fields = try JSONDecoder().decode([String: String].self, from: Data(reset.output.joined().utf8))
        let token = try #require(fields["token"])
        #expect(try await get(HTTPClient(), served.url + "/admin/api/agents", token: token).status == 200)
        served.process.signal(SIGTERM)
        #expect(try await served.process.exitStatus() == 0)
    }

    @Test func aTakenPortIsAFailureThatNamesTheAddress() async throws {
        let folder = try TemporaryFolder()
        try await LiveBackend.withLiveBackend { backend in
            let address = "127.0.0.1:\(backend.port)"
            let result = try await CommandResult.of(
                "serve", "--init", "--listen", address, "--data", folder.path("data"))
            #expect(result.status == 1)
            #expect(result.errors.contains("backend.cannot_listen"))
            #expect(!result.errors.contains("bind("), "\(result.errors)")
            #expect(result.errors.contains(address))
        }
    }

    @Test func aBrokenSeedIsAFailureThatNamesTheFile() async throws {
        let folder = try TemporaryFolder()
        let result = try await CommandResult.of(
            "serve", "--init", "--listen", "127.0.0.1:0", "--data", folder.path("data"), "--seed", folder.path("absent")
        )
        #expect(result.status == 1)
        #expect(result.errors.contains("backend.invalid_seed"))
        #expect(result.errors.contains(folder.path("absent")))
    }

    @Test func aTokenOfABackendThatIsntThereIsAFailureAndMakesNone() async throws {
        let folder = try TemporaryFolder()
        let result = try await CommandResult.of("token", "reset", "--data", folder.path("absent"))
        #expect(result.status == 1)
        #expect(result.errors.contains(folder.path("absent")))
        #expect(!FileManager.default.fileExists(atPath: folder.path("absent")))
    }

    @Test(arguments: [
        ["serve", "--listen", "8787"], ["serve", "--auth", "sometimes"], ["serve", "--max-result-size", "0"],
        ["serve", "--public-url", "backend.example.com"], ["serve", "--code-lifetime", "0"],
        ["serve", "--access-token-lifetime", "-1"], ["device", "approve"], ["device", "deny"],
        ["serve", "--log-level", "loud"], ["serve", "--max-connections", "0"], ["serve", "--keep-runs", "0"],
        ["serve", "--head-timeout", "0"], ["serve", "--trusted-proxy", "proxy"], ["backup"], ["restore"],
        ["serve", "--no-such-option"], ["sreve"],
    ])
    func wrongUsageIsToldApartFromFailure(arguments: [String]) async throws {
        let process = try BackendProcess(arguments)
        #expect(try await process.exitStatus() == 2)
        #expect(try process.standardError().contains("Usage:"))
    }

    @Test(arguments: [
        ["--help"], ["serve", "--help"], ["token", "--help"], ["token", "reset", "--help"], ["device", "--help"],
        ["device", "list", "--help"],
        ["device", "approve", "--help"], ["device", "deny", "--help"], ["backup", "--help"], ["restore", "--help"],
    ])
    func helpShowsAnExample(arguments: [String]) async throws {
        let process = try BackendProcess(arguments)
        let output = await process.lines.reduce(into: "") { $0 += $1 + "\n" }
        #expect(try await process.exitStatus() == 0)
        #expect(output.contains("EXAMPLE"))
        #expect(output.contains("runbook-backend "))
    }
}
