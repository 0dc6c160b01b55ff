import AgentModel
import AgentTestSupport
import Foundation
import ReferenceBackend
import ReliabilityTesting
import Synchronization
import Testing

/// The agent's login against the live backend, from the code to the next login.
@Suite struct LoginLifeTests {
    /// The host's clock and what was added to it.
    private final class ShiftedClock: Sendable {
        private let shift = Mutex(TimeInterval(0))

        var now: Date { Date().addingTimeInterval(shift.withLock { $0 }) }
        func advance(by seconds: TimeInterval) { shift.withLock { $0 += seconds } }
    }

    private func withHost(
        login: LoginConfiguration = LoginHost.login(), now: @escaping @Sendable () -> Date = { Date() },
        _ body: (LoginHost) async throws -> Void
    ) async throws {
        try await LiveBackend.withLiveBackend(authentication: .device, login: login, now: now) { backend in
            try await body(LoginHost(backend))
        }
    }

    /// With which the backend's secrets begin: device codes, access and refresh tokens.
    private static let marks = ["rbd_", "rbt_", "rbr_"]

    @Test func aRunningAgentIsLoggedInAndWritesNoSecretAnywhere() async throws {
        try await withHost { host in
            // What is looked for below is what the secrets look like.
            let begun = try await host.backend.service.beginLogin(clientID: "x", scope: "", address: "192.0.2.1")
            _ = try await host.backend.service.approveLogin("\(begun.userCode)", as: .new(name: nil))
            let issued = try await host.backend.service.redeem(deviceCode: begun.deviceCode, clientID: "x")
            let samples = [begun.deviceCode, issued.accessToken, issued.refreshToken]
            try #require(zip(samples, Self.marks).allSatisfy { $0.hasPrefix($1) })

            let agent = try host.start()
            try await host.decide("approve", try await host.code(1), "--name", "cellar")
            try await host.waitFor("identified by the backend")
            let status = try await host.agent("status", "--json")
            #expect(try status.jsonLines().first?.at("login.state") as? String == "logged in")
            let login = try await host.agent("login")
            #expect(login.status == 0 && login.stdout.contains("cellar"))
            let arguments = try Data(contentsOf: URL(filePath: "/proc/\(agent.processID)/cmdline"))
            #expect(await agent.end(with: SIGTERM) == .exited(0))
            #expect(host.codes.count == 1)

            let lists = [
                status.stdout, status.stderr, login.stdout, login.stderr, String(decoding: arguments, as: UTF8.self),
            ]
            for mark in Self.marks {
                #expect(!host.log.contains(mark))
                #expect(!lists.contains { $0.contains(mark) })
            }
            let files = try #require(FileManager.default.enumerator(atPath: host.folder.path))
            for case let name as String in files {
                guard let content = FileManager.default.contents(atPath: host.folder.path(name)) else { continue }
                for mark in Self.marks { #expect(content.range(of: Data(mark.utf8)) == nil, "\(name)") }
            }
        }
    }

    @Test func aServerThatRepeatsTheTokenGetsItIntoNoFile() async throws {
        let token = "a-token+of/the=test"
        let backend = try ScriptedBackend()
        let folder = try TemporaryFolder()
        let file = folder.path("token")
        try #require(
            FileManager.default.createFile(
                atPath: file, contents: Data(token.utf8), attributes: [.posixPermissions: 0o600]))
        let settings = ["--set", "server_url=\(backend.server.url)"]
        let login = try await AgentProcess.run(["login", "--token-file", file] + settings, directory: folder.path)
        try #require(login.status == 0, "\(login.stderr)")
        try FileManager.default.removeItem(atPath: file)
        // As a framework's debug page does.
        for path in ["/api/agent", "/api/agent/tasks"] {
            backend.server.route(path) { request in
                let page = request.headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
                return .response(status: 500, headers: ["Content-Type": "text/plain"], body: Data(page.utf8))
            }
        }
        let run = try await AgentProcess.run(
            ["run", "--once", "--log-level", "debug"] + settings, directory: folder.path)
        let status = try await AgentProcess.run(["status", "--json"] + settings, directory: folder.path)
        for output in [run, status] {
            let text = output.stdout + output.stderr
            #expect(text.contains("Authorization: Bearer (hidden)"), "\(text)")
            #expect(!text.contains(token))
        }
        let files = try #require(FileManager.default.enumerator(atPath: folder.path))
        for case let name as String in files {
            guard let content = FileManager.default.contents(atPath: folder.path(name)) else { continue }
            #expect(content.range(of: Data(token.utf8)) == nil, "\(name)")
        }
    }

    @Test func accessTokensThatEndAreRenewed() async throws {
        try await withHost(login: LoginHost.login(accessTokenLifetime: 2)) { host in
            try await host.logIn(as: "cellar")
            let agent = try host.start()
            // What waits needs no token; each change ends a wait.
            let service = host.backend.service
            let id = try #require(try await service.agents().elements.first?.id)
            let changes = Task {
                for number in 1... {
                    _ = try await service.updateAgent(id, AgentChange(name: .set("cellar \(number)")))
                    try await Task.sleep(for: .milliseconds(300))
                }
            }
            defer { changes.cancel() }
            try await host.waitFor("access token renewed", count: 2)
            #expect(await agent.end(with: SIGTERM) == .exited(0))
            #expect(host.codes.isEmpty)
            #expect(!host.log.contains("the login has ended"))
        }
    }

    @Test func processesThatRenewTogetherDoNotEndTheLogin() async throws {
        let clock = ShiftedClock()
        try await withHost(now: { clock.now }) { host in
            try await host.logIn(as: "cellar")
            let agent = try host.start()
            try await host.waitFor("identified by the backend")
            for _ in 0..<3 {
                // Each of them finds its token refused, and has the same refresh token.
                clock.advance(by: 4000)
                try await withThrowingTaskGroup(of: AgentProcess.Output.self) { group in
                    for _ in 0..<3 { group.addTask { try await host.agent("login") } }
                    for try await login in group {
                        #expect(login.status == 0 && login.stdout.contains("cellar"), "\(login.stderr)")
                    }
                }
            }
            #expect(await agent.end(with: SIGTERM) == .exited(0))
            #expect(host.codes.isEmpty)
            #expect(!host.log.contains("the login has ended"))
            // A refresh token that had been used twice would have ended it.
            #expect(try await host.agent("login").stdout.contains("cellar"))
        }
    }

    @Test func whoseTokensAreEndedLogsInAnew() async throws {
        // Short, because a token that was refused is renewed no sooner than after half its time.
        try await withHost(login: LoginHost.login(accessTokenLifetime: 4)) { host in
            let agent = try host.start()
            try await host.decide("approve", try await host.code(1), "--name", "cellar")
            try await host.waitFor("the agent is logged in")
            let known = try await host.backend.service.agents().elements
            try #require(known.count == 1)
            // By the administrator.
            try await host.backend.service.revokeTokens(ofAgent: known[0].id)
            try await host.decide("approve", try await host.code(2), "--agent", known[0].id)
            try await host.waitFor("the agent is logged in", count: 2)
            // By another command.
            #expect(try await host.agent("logout").stdout == "Logged out.\n")
            try await host.decide("approve", try await host.code(3), "--agent", known[0].id)
            try await host.waitFor("the agent is logged in", count: 3)
            // By damage.
            try "damaged".write(toFile: host.folder.path("state/login.sealed"), atomically: false, encoding: .utf8)
            try await host.waitFor("login.damaged")
            try await host.decide("approve", try await host.code(4), "--agent", known[0].id)
            try await host.waitFor("the agent is logged in", count: 4)
            #expect(await agent.end(with: SIGTERM) == .exited(0))
            #expect(Set(host.codes).count == 4 && host.codes.count == 4)
            #expect(try await host.backend.service.agents().elements.map(\.id) == [known[0].id])
        }
    }

    @Test func aDenialEndsTheWaitOfAgentAndCommandAndNoCodeFollows() async throws {
        try await withHost { host in
            let agent = try host.start()
            let code = try await host.code(1)
            // The agent polls, and the command watches.
            let login = try host.start(["login", "--json"], log: "login")
            try await host.waitFor(code, in: "login")
            try await host.decide("deny", code)
            #expect(await login.end(within: .seconds(60)) == .exited(1))
            let events = host.text(of: "login").split(separator: "\n").filter { $0.hasPrefix("{") }
            #expect(events.count == 2 && events.last?.contains(#""event":"failed""#) == true, "\(events)")
            #expect(events.last?.contains(#""code":"login.denied""#) == true)
            try await host.waitFor("login.denied")
            let status = try await host.agent("status", "--json")
            #expect(try status.jsonLines().first?.at("login.state") as? String == "denied")
            #expect(host.codes == [code])
            // A code that a person asks for is taken up again.
            let next = try await host.agent("login", "--no-wait", "--json")
            let second = try #require(try next.jsonLines().first?["user_code"] as? String)
            try await host.decide("approve", second, "--name", "cellar")
            try await host.waitFor("the agent is logged in")
            #expect(await agent.end(with: SIGTERM) == .exited(0))
            #expect(host.codes == [code, second])
        }
    }

    @Test func aDenialOfACommandsCodeStopsTheAgentThatWatches() async throws {
        try await withHost { host in
            // The command polls: it was there first.
            let login = try host.start(["login"], log: "login")
            let shown = try await host.pendingCode()
            let agent = try host.start()
            #expect(try await host.code(1) == shown)
            try await host.decide("deny", shown)
            #expect(await login.end(within: .seconds(60)) == .exited(1))
            try await host.waitFor("login.denied")
            #expect(await agent.end(with: SIGTERM) == .exited(0))
            #expect(host.codes == [shown])
        }
    }

    @Test func onceSaysWhyThereIsNoLogin() async throws {
        try await withHost { host in
            let shown = try await host.agent("login", "--no-wait", "--json")
            let code = try #require(try shown.jsonLines().first?["user_code"] as? String)
            let waiting = try await host.agent("run", "--once")
            #expect(waiting.status == 77 && waiting.stderr.contains("\(code) still waits for approval"))
            try await host.decide("deny", code)
            for arguments in [["run", "--once"], ["run", "--no-login"]] {
                let denied = try await host.agent(arguments[0], arguments[1])
                #expect(denied.status == 77, "\(denied.stderr)")
                #expect(denied.stderr.contains("\(code) was denied") && denied.stderr.contains("login.required"))
            }
        }
    }

    @Test func aNewLoginTakesThePlaceOfWhatIsThereOnlyWhereItIsGood() async throws {
        try await withHost { host in
            try await host.logIn(as: "cellar")
            let sealed = host.folder.path("state/login.sealed")
            let before = FileManager.default.contents(atPath: sealed)
            let token = host.folder.path("token")
            try #require(
                FileManager.default.createFile(
                    atPath: token, contents: Data("nobodys".utf8), attributes: [.posixPermissions: 0o600]))
            let refused = try await host.agent("login", "--token-file", token, "--json")
            #expect(refused.status == 1 && refused.stderr.contains("login.token_file"), "\(refused.stderr)")
            #expect(try refused.jsonLines().map { $0["event"] as? String } == ["failed"])
            #expect(FileManager.default.contents(atPath: sealed) == before)

            // Of another client: left alone by all but --force.
            try host.configure(clientID: "another")
            for arguments in [["logout", "--json"], ["login", "--no-wait"], ["run", "--once"]] {
                let output = try await host.agent(arguments[0], arguments[1])
                #expect(output.status != 0, "\(arguments)")
                if arguments[0] != "run" { #expect(output.stderr.contains("login.foreign"), "\(output.stderr)") }
                #expect(FileManager.default.contents(atPath: sealed) == before)
            }
            try host.configure(clientID: "a-host")

            // What can't be opened is no login, also for --force.
            try "damaged".write(toFile: sealed, atomically: false, encoding: .utf8)
            let forced = try await host.agent("login", "--force", "--no-wait")
            #expect(forced.status == 0 && forced.stderr.contains("login.damaged"), "\(forced.stderr)")
        }
    }

    @Test func aTokenResponseWhoseAccessTokenHasEndedIsRenewedAndTaken() async throws {
        let clock = ShiftedClock()
        try await withHost(now: { clock.now }) { host in
            let service = host.backend.service
            let begun = try await service.beginLogin(clientID: "a-host", scope: "", address: "192.0.2.1")
            _ = try await service.approveLogin("\(begun.userCode)", as: .new(name: "cellar"))
            let tokens = try await service.redeem(deviceCode: begun.deviceCode, clientID: "a-host")
            clock.advance(by: 4000)
            let response = #"{"access_token": "\#(tokens.accessToken)", "refresh_token": "\#(tokens.refreshToken)"}"#
            let file = host.folder.path("token")
            try #require(
                FileManager.default.createFile(
                    atPath: file, contents: Data(response.utf8), attributes: [.posixPermissions: 0o600]))
            let login = try await host.agent("login", "--token-file", file)
            #expect(login.status == 0 && login.stdout.contains("cellar"), "\(login.stderr)")
        }
    }

    @Test func afterLoginAndLogoutStatusSaysSoAlsoWhereNoAgentHasRun() async throws {
        try await withHost { host in
            try await host.logIn(as: "cellar")
            let logout = try await host.agent("logout", "--json")
            #expect(try logout.jsonLines().map { $0["event"] as? String } == ["logged_out"])
            let status = try await host.agent("status", "--json")
            #expect(status.status == 1, "neither is there a login nor does an agent run: \(status.stderr)")
            #expect(try status.jsonLines().first?.at("login.state") as? String == "logged out")
            #expect(try status.jsonLines().first?.at("agent.state") as? String == "never ran")
        }
    }

    @Test func aForcedLoginEndsTheOneBefore() async throws {
        try await withHost { host in
            try await host.logIn(as: "cellar")
            let sealed = host.folder.path("state/login.sealed")
            let before = try #require(FileManager.default.contents(atPath: sealed))
            let shown = try await host.agent("login", "--force", "--no-wait", "--json")
            let code = try #require(try shown.jsonLines().first?["user_code"] as? String)
            try await host.decide("approve", code, "--name", "attic")
            #expect(try await host.agent("login", "--force").stdout.contains("attic"))
            // The old one, put back, opens nothing any more.
            try before.write(to: URL(filePath: sealed))
            let old = try await host.agent("login", "--no-wait", "--json")
            #expect(try old.jsonLines().first?["event"] as? String == "pending", "\(old.stdout)")
        }
    }
}
