// More than 400 lines: each case is a few lines, and all need the same fixture.

import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Logging
import Testing

@testable import DeviceAuthorization

@Suite struct LoginSessionTests {
    let fixture: LoginFixture

    init() throws { fixture = try LoginFixture() }

    private func error(_ body: () async throws -> Void) async -> LoginError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? LoginError
        }
    }

    @Test func withoutALoginThatIsSaid() async throws {
        let session = try fixture.session()
        #expect(await error { _ = try await session.authorization() } == .required(pending: nil))
        #expect(!FileManager.default.fileExists(atPath: fixture.directory))
    }

    @Test func whatWasAcceptedIsThereForAnotherProcess() async throws {
        try await fixture.session().accept(fixture.tokens())
        let other = try fixture.session()
        #expect(try await other.authorization() == Authorization(bearer: "access-1"))
        // For another client it is none.
        let stranger = try fixture.session(clientID: "another")
        #expect(try await !stranger.isLoggedIn())
        let sealed = try Data(contentsOf: URL(filePath: fixture.directory + "/login.sealed"))
        for secret in ["access-1", "refresh-1"] { #expect(sealed.range(of: Data(secret.utf8)) == nil) }
    }

    @Test func theTokenIsRenewedAheadOfItsEnd() async throws {
        fixture.server.route("/oauth/token", LoginFixture.response("2"))
        let session = try fixture.session()
        try await session.accept(fixture.tokens(lifetime: 1000))
        fixture.clock.advance(by: .seconds(850))
        #expect(try await session.authorization() == Authorization(bearer: "access-1"))
        fixture.clock.advance(by: .seconds(100))
        #expect(try await session.authorization() == Authorization(bearer: "access-2"))
        let form = LoginFixture.form(try #require(fixture.server.requests.first))
        #expect(form == ["client_id": "runbook-agent", "grant_type": "refresh_token", "refresh_token": "refresh-1"])
        // The rotated one is written down.
        #expect(try await fixture.session().storedTokens()?.refreshToken == "refresh-2")
        #expect(fixture.count("/oauth/token") == 1)
    }

    @Test func whileTheBackendIsAwayTheOldTokenDoes() async throws {
        fixture.server.route("/oauth/token", .json("{}", status: 503))
        let session = try fixture.session()
        try await session.accept(fixture.tokens(lifetime: 1000))
        fixture.clock.advance(by: .seconds(950))
        #expect(try await session.authorization() == Authorization(bearer: "access-1"))
        // And it is not asked again at each request.
        for _ in 0..<10 { _ = try await session.authorization() }
        #expect(fixture.count("/oauth/token") == 1)
    }

    @Test func manyRequestsThatAreRefusedLeadToOneRefresh() async throws {
        fixture.server.route("/oauth/token", LoginFixture.response("2"))
        try await fixture.session().accept(fixture.tokens())
        let sessions = [try fixture.session(), try fixture.session()]
        let rejected = Authorization(bearer: "access-1")
        try await withThrowingTaskGroup(of: Authorization?.self) { group in
            for index in 0..<20 {
                group.addTask { try await sessions[index % 2].replacement(for: rejected) }
            }
            for try await other in group { #expect(other == Authorization(bearer: "access-2")) }
        }
        #expect(fixture.count("/oauth/token") == 1)
    }

    @Test func aBackendThatRefusesEveryTokenIsNotStormed() async throws {
        let fixture = fixture
        fixture.server.route("/oauth/token") { _ in LoginFixture.response("\(fixture.count("/oauth/token") + 1)") }
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        // A request a second for an hour, each refused.
        for _ in 0..<3600 {
            fixture.clock.advance(by: .seconds(1))
            if let sent = try await session.authorization() { _ = try await session.replacement(for: sent) }
        }
        #expect(fixture.count("/oauth/token") >= 2)
        #expect(fixture.count("/oauth/token") <= 12)
    }

    struct Lifetime: Sendable, CustomTestStringConvertible {
        var text: String
        /// Refreshes in a day with a request a minute.
        var refreshes: ClosedRange<Int>
        var testDescription: String { text }
    }

    @Test(arguments: [
        Lifetime(text: "-5", refreshes: 0...0), Lifetime(text: "0", refreshes: 0...0),
        Lifetime(text: "null", refreshes: 0...0), Lifetime(text: "\"soon\"", refreshes: 0...0),
        Lifetime(text: "1e300", refreshes: 0...0), Lifetime(text: "9223372036854775807", refreshes: 0...0),
        Lifetime(text: "3600", refreshes: 24...28), Lifetime(text: "\"3600\"", refreshes: 24...28),
        Lifetime(text: "3600.5", refreshes: 24...28),
    ])
    func whateverLifetimeIsClaimedThereIsNoStorm(_ example: Lifetime) async throws {
        fixture.server.route("/oauth/token", LoginFixture.response("2", lifetime: example.text))
        let session = try fixture.session()
        try await session.accept(fixture.tokens(lifetime: 100))
        fixture.clock.advance(by: .seconds(99))
        _ = try await session.authorization()
        let first = fixture.count("/oauth/token")
        for _ in 0..<1440 {
            fixture.clock.advance(by: .seconds(60))
            _ = try await session.authorization()
        }
        #expect(example.refreshes.contains(fixture.count("/oauth/token") - first))
    }

    @Test(arguments: [3600, -3600, 34_560_000, -34_560_000] as [TimeInterval])
    func aClockThatIsSetMakesNoStorm(seconds: TimeInterval) async throws {
        let fixture = fixture
        fixture.server.route("/oauth/token") { _ in LoginFixture.response("\(fixture.count("/oauth/token") + 1)") }
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        fixture.clock.setWallTime(fixture.clock.wallTime.addingTimeInterval(seconds))
        for _ in 0..<50 { _ = try await session.authorization() }
        #expect(fixture.count("/oauth/token") == 0)
        // A process that starts with that clock asks once at most.
        let other = try fixture.session()
        for _ in 0..<50 { _ = try await other.authorization() }
        #expect(fixture.count("/oauth/token") <= 1)
    }

    @Test func aLoginThatIsNotKnownIsKeptAndTriedAgain() async throws {
        fixture.server.route("/oauth/token", LoginFixture.refusal("invalid_grant"))
        let log = RecordedLog()
        let session = try fixture.session(logger: Logger(label: "test") { _ in log })
        try await session.accept(fixture.tokens())
        fixture.clock.advance(by: .seconds(60))
        let refused = await error { _ = try await session.replacement(for: Authorization(bearer: "access-1")) }
        #expect(refused?.code == "login.required")
        #expect(try await !session.isLoggedIn())
        #expect(fixture.count("/oauth/token") == 1)
        let state = await fixture.state()
        #expect(state.kind == .setAside)
        #expect(state.setAsideUntil == fixture.clock.wallTime.addingTimeInterval(86_400))
        // With pauses, also for another process.
        let other = try fixture.session()
        for _ in 0..<600 {
            fixture.clock.advance(by: .seconds(1))
            _ = try await session.isLoggedIn()
            _ = try await other.isLoggedIn()
        }
        #expect((2...5).contains(fixture.count("/oauth/token")), "\(fixture.count("/oauth/token"))")
        // The backend was put back.
        fixture.server.route("/oauth/token", LoginFixture.response("2"))
        fixture.clock.advance(by: .seconds(5000))
        #expect(try await session.isLoggedIn())
        #expect(try await session.authorization() == Authorization(bearer: "access-2"))
        #expect(try await other.authorization() == Authorization(bearer: "access-2"))
        #expect(await fixture.state().kind == .loggedIn)
        #expect(log.lines.value.count { $0.contains("accepts the login that was set aside") } == 1)
    }

    @Test func afterADayItEnds() async throws {
        fixture.server.route("/oauth/token", LoginFixture.refusal("invalid_grant"))
        let log = RecordedLog()
        let session = try fixture.session(logger: Logger(label: "test") { _ in log })
        try await session.accept(fixture.tokens())
        _ = await error { _ = try await session.replacement(for: Authorization(bearer: "access-1")) }
        for _ in 0..<27 {
            fixture.clock.advance(by: .seconds(3600))
            _ = try await session.isLoggedIn()
        }
        #expect(await fixture.state().kind == .loggedOut)
        #expect(log.lines.value.count { $0.contains("the login has ended") } == 1)
        let count = fixture.count("/oauth/token")
        #expect((10...40).contains(count), "\(count)")
        fixture.clock.advance(by: .seconds(90_000))
        #expect(try await !session.isLoggedIn())
        #expect(fixture.count("/oauth/token") == count)
    }

    @Test func aPersonMayLogInAnewMeanwhile() async throws {
        fixture.server.route("/oauth/token", LoginFixture.refusal("invalid_grant"))
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        _ = await error { _ = try await session.replacement(for: Authorization(bearer: "access-1")) }
        try await fixture.session().accept(fixture.tokens("7"))
        #expect(try await session.authorization() == Authorization(bearer: "access-7"))
        fixture.clock.advance(by: .seconds(90_000))
        #expect(try await session.storedRecord()?.setAside == nil)
    }

    /// A backend of another database says nothing about this login.
    @Test func atAnotherBackendTheLoginIsKept() async throws {
        fixture.server.route("/oauth/token", LoginFixture.refusal("invalid_grant"))
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        #expect(try await session.note(backendID: "one") == nil)
        #expect(try await session.note(backendID: "one") == nil)
        #expect(try await session.note(backendID: "two") == "one")
        #expect(await fixture.state().otherBackendID == "two")
        #expect(try await session.authorization() == Authorization(bearer: "access-1"))
        _ = await error { _ = try await session.replacement(for: Authorization(bearer: "access-1")) }
        for _ in 0..<50 {
            fixture.clock.advance(by: .seconds(3600))
            _ = try await session.isLoggedIn()
        }
        #expect(await fixture.state().kind == .setAside)
        fixture.server.route("/oauth/token", LoginFixture.response("2"))
        fixture.clock.advance(by: .seconds(5000))
        #expect(try await session.isLoggedIn())
        #expect(try await session.note(backendID: "one") == nil)
        #expect(await fixture.state().otherBackendID == nil)
    }

    /// A backend that was restarted with other keys knows none of its tokens, however new they are.
    @Test func aNewTokenThatIsRefusedIsRenewedAtOnceAndThenWithPauses() async throws {
        fixture.server.route("/oauth/token", LoginFixture.response("2"), LoginFixture.response("3"))
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        #expect(
            try await session.replacement(for: Authorization(bearer: "access-1")) == Authorization(bearer: "access-2"))
        #expect(try await session.replacement(for: Authorization(bearer: "access-2")) == nil)
        fixture.clock.advance(by: .seconds(31))
        #expect(
            try await session.replacement(for: Authorization(bearer: "access-2")) == Authorization(bearer: "access-3"))
    }

    /// The word is read before secrets are taken out of what is shown.
    @Test func aCodeThatIsAPartOfAnErrorsNameHidesNoError() async throws {
        fixture.server.route("/oauth/token", LoginFixture.refusal("authorization_pending"))
        let code = DeviceCode(
            deviceCode: "pend", userCode: "AB", verificationURI: "http://h/", verificationURIComplete: nil,
            lifetime: 600, interval: 5, issuedAt: fixture.clock.wallTime, clientID: "runbook-agent")
        let answer = await (try fixture.session()).oauth.redeem(code)
        guard case .error("authorization_pending", _, _, _) = answer else {
            Issue.record("\(answer)")
            return
        }
    }

    @Test func beforeGivingUpTheStoreIsReadAgain() async throws {
        let other = try fixture.session()
        let tokens = fixture.tokens("9")
        try await fixture.session().accept(fixture.tokens())
        // Another process that knows no lock writes while the refresh is on its way.
        let record = LoginRecord(
            origin: await other.oauth.origin.description, clientID: await other.oauth.clientID, tokens: tokens,
            pending: nil)
        let directory = fixture.directory
        let source = KeySource(configured: fixture.keyPath, credentialsDirectory: nil, fallback: "")
        let key = try #require(try source.load(owners: [geteuid()]))
        let bytes = try LoginSeal.seal(
            Array(JSONEncoder().encode(record)), key: key)
        fixture.server.route("/oauth/token") { _ in
            try? SecretFile(path: directory + "/login.sealed").write(bytes, owner: geteuid())
            return LoginFixture.refusal("invalid_grant")
        }
        let session = try fixture.session()
        let replaced = try await session.replacement(for: Authorization(bearer: "access-1"))
        #expect(replaced == Authorization(bearer: "access-9"))
    }

    @Test func anAnswerWithoutARefreshTokenKeepsTheOldOne() async throws {
        fixture.server.route("/oauth/token", .json(#"{"access_token": "access-2", "token_type": "bearer"}"#))
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        fixture.clock.advance(by: .seconds(60))
        _ = try await session.replacement(for: Authorization(bearer: "access-1"))
        #expect(try await session.storedTokens()?.refreshToken == "refresh-1")
    }

    @Test func aBareTokenThatIsRefusedIsNotTriedAgain() async throws {
        let session = try fixture.session()
        try await session.accept(fixture.tokens(isRefreshable: false))
        #expect(try await session.replacement(for: Authorization(bearer: "access-1")) == nil)
        #expect(try await !session.isLoggedIn())
        // The file stays, for it can't be had again.
        #expect(try await session.storedTokens() != nil)
        #expect(fixture.server.requests.isEmpty)
    }

    /// A session with tokens that it could not write down, because the key was moved away while they were on their way.
    private func sessionWithUnsavedTokens() async throws -> LoginSession {
        let key = fixture.keyPath
        fixture.server.route("/oauth/token") { _ in
            rename(key, key + ".away")
            return LoginFixture.response("2")
        }
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        fixture.clock.advance(by: .seconds(60))
        let failure = await error { _ = try await session.replacement(for: Authorization(bearer: "access-1")) }
        #expect(failure?.code == "login.missing_key")
        return session
    }

    private func bringKeyBack() { #expect(rename(fixture.keyPath + ".away", fixture.keyPath) == 0) }

    @Test func newTokensAreNotUsedBeforeTheyAreWrittenDown() async throws {
        let session = try await sessionWithUnsavedTokens()
        #expect(await error { _ = try await session.authorization() }?.code == "login.missing_key")
        bringKeyBack()
        #expect(try await session.authorization() == Authorization(bearer: "access-2"))
        #expect(fixture.count("/oauth/token") == 1)
        #expect(try await fixture.session().storedTokens()?.refreshToken == "refresh-2")
    }

    @Test func tokensThatCouldNotBeWrittenDownReplaceNoNewerLogin() async throws {
        let session = try await sessionWithUnsavedTokens()
        bringKeyBack()
        try await fixture.session().accept(fixture.tokens("newer"))
        #expect(try await session.authorization() == Authorization(bearer: "access-newer"))
        #expect(try await fixture.session().storedTokens()?.refreshToken == "refresh-newer")
    }

    @Test func tokensThatCouldNotBeWrittenDownUndoNoLogout() async throws {
        let session = try await sessionWithUnsavedTokens()
        bringKeyBack()
        fixture.server.route("/oauth/revoke", .json(""))
        _ = try await fixture.session().logout()
        #expect(await error { _ = try await session.authorization() } == .required(pending: nil))
        #expect(!FileManager.default.fileExists(atPath: fixture.directory + "/login.sealed"))
    }

    @Test func aCodeThatWasKeptMeanwhileCostsNoUnsavedTokens() async throws {
        let session = try await sessionWithUnsavedTokens()
        bringKeyBack()
        let code = DeviceFlowTests.code()
        try await fixture.session().keep(pending: code)
        #expect(try await session.authorization() == Authorization(bearer: "access-2"))
        let record = try await fixture.session().storedRecord()
        #expect(record?.tokens?.refreshToken == "refresh-2")
        // Of `login --force --no-wait`.
        #expect(record?.pending == code)
    }

    @Test func aServerThatRepeatsTheRefreshTokenDoesNotPutItInTheLog() async throws {
        fixture.server.route("/oauth/token") { request in
            .json(
                #"{"error": "invalid_grant", "error_description": "what is \#(LoginFixture.form(request)["refresh_token"] ?? "")?"}"#,
                status: 400)
        }
        let log = RecordedLog()
        let session = try fixture.session(logger: Logger(label: "test") { _ in log })
        try await session.accept(fixture.tokens())
        fixture.clock.advance(by: .seconds(60))
        _ = await error { _ = try await session.replacement(for: Authorization(bearer: "access-1")) }
        let lines = log.lines.value
        #expect(lines.contains { $0.contains("what is (hidden)?") }, "\(lines)")
        #expect(!lines.contains { $0.contains("refresh-1") })
    }

    @Test func tokensFromElsewhereCanBeRenewedBeforeTheyAreALogin() async throws {
        fixture.server.route("/oauth/token", LoginFixture.response("2"), LoginFixture.refusal("invalid_grant"))
        let session = try fixture.session()
        let new = try await session.renewed(fixture.tokens("1"))
        #expect(new.authorization == Authorization(bearer: "access-2"))
        #expect(try await !session.isLoggedIn())
        #expect(await error { _ = try await session.renewed(fixture.tokens("1")) }?.code == "login.refused")
    }

    @Test func aForeignLoginIsLeftAlone() async throws {
        fixture.server.route(
            "/oauth/device/code", .json(#"{"device_code": "d", "user_code": "U", "verification_uri": "https://b"}"#))
        try await fixture.session(clientID: "first").accept(fixture.tokens())
        let second = try fixture.session(clientID: "second")
        #expect(await error { _ = try await second.logout() }?.code == "login.foreign")
        #expect(await error { _ = try await DeviceLogin(session: second) { _ in }.begin() }?.code == "login.foreign")
        #expect(await error { try await DeviceLogin(session: second) { _ in }.run() }?.code == "login.foreign")
        let refused = await error { try await second.accept(fixture.tokens("2")) }
        #expect(refused?.code == "login.foreign")
        #expect(await error { _ = try await second.renewed(fixture.tokens("2")) }?.code == "login.foreign")
        #expect(refused?.message.contains("first") == true)
        #expect(fixture.server.requests.isEmpty)
        #expect(try await fixture.session(clientID: "first").storedTokens() == fixture.tokens())
        await second.replaceForeignLogin()
        try await second.accept(fixture.tokens("2"))
        #expect(try await second.authorization() == Authorization(bearer: "access-2"))
    }

    @Test func logoutRevokesAndForgets() async throws {
        fixture.server.route("/oauth/revoke", .json(""))
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        let (was, problem) = try await session.logout()
        #expect(was && problem == nil)
        #expect(fixture.server.requests.map { LoginFixture.form($0)["token"] } == ["refresh-1", "access-1"])
        #expect(!FileManager.default.fileExists(atPath: fixture.directory + "/login.sealed"))
        #expect(try await session.logout().wasLoggedIn == false)
    }

    @Test func logoutForgetsAlsoWhereItCantRevoke() async throws {
        fixture.server.stop()
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        let (was, problem) = try await session.logout()
        #expect(was && problem?.code == "http.unreachable")
        #expect(try await !fixture.session().isLoggedIn())
    }

    @Test func aRedirectToAnotherOriginGetsNoToken() async throws {
        let other = try ScriptedServer()
        fixture.server.route("/oauth/token", .redirect(307, to: other.url + "/oauth/token"))
        let session = try fixture.session()
        try await session.accept(fixture.tokens())
        fixture.clock.advance(by: .seconds(60))
        let error = await error { _ = try await session.replacement(for: Authorization(bearer: "access-1")) }
        #expect(error?.code == "http.redirect_refused")
        #expect(other.requests.isEmpty)
    }

    @Test func plainHTTPToAnotherHostIsRefused() throws {
        let key = KeySource(configured: nil, credentialsDirectory: nil, fallback: "/nowhere")
        func make(_ url: String, allow: Bool = false) throws -> LoginSession {
            try LoginSession(
                settings: LoginSettings(serverURL: url, allowInsecure: allow), directory: "/nowhere", keySource: key,
                http: fixture.http, logger: .init(label: "t"))
        }
        for url in ["http://backend.example", "http://10.1.2.3", "http://127.0.0.1.evil.example"] {
            #expect(throws: LoginError.insecureServer(url: url)) { try make(url) }
            _ = try make(url, allow: true)
        }
        for url in ["https://backend.example", "http://localhost:1", "http://127.8.8.8", "http://[::1]:2"] {
            _ = try make(url)
        }
    }
}
