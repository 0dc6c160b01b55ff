// More than 400 lines: each case is a few lines, and all need the same clock and server.

import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Synchronization
import Testing

@testable import DeviceAuthorization

@Suite struct DeviceLoginTests {
    let fixture: LoginFixture

    init() throws { fixture = try LoginFixture() }

    private static let code = #"""
        {"device_code": "dc-secret", "user_code": "WDJB-MJHT", "verification_uri": "https://b.example/device",
         "expires_in": 600, "interval": 5}
        """#

    private func login(_ session: LoginSession) async -> (codes: [String], error: LoginError?) {
        let codes = Mutex<[String]>([])
        do {
            try await DeviceLogin(session: session) { event in
                if case .code(let code) = event { codes.withLock { $0.append(code.userCode) } }
            }.run()
            return (codes.withLock { $0 }, nil)
        } catch {
            return (codes.withLock { $0 }, error as? LoginError)
        }
    }

    @Test func aWholeLogin() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route(
            "/oauth/token", LoginFixture.refusal("authorization_pending"), LoginFixture.refusal("slow_down"), .close,
            .json("{}", status: 503), LoginFixture.response("1"))
        let session = try fixture.session()
        let (codes, error) = await login(session)
        #expect(error == nil && codes == ["WDJB-MJHT"])
        #expect(try await session.authorization() == Authorization(bearer: "access-1"))
        let sleeps = fixture.clock.sleeps
        try #require(sleeps.count == 5)
        #expect(Array(sleeps.prefix(3)) == [.seconds(5), .seconds(5), .seconds(10)])
        #expect(sleeps[3] >= .seconds(20) && sleeps[4] >= .seconds(40))
        let forms = fixture.server.requests.map(LoginFixture.form)
        // With the host's name, for who approves the code.
        let first = try #require(forms.first)
        #expect(first["host_name"]?.isEmpty == false)
        #expect(first.filter { $0.key != "host_name" } == ["client_id": "runbook-agent", "scope": ""])
        #expect(
            forms.last == [
                "client_id": "runbook-agent", "scope": "", "device_code": "dc-secret",
                "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            ])
        #expect(fixture.server.requests.allSatisfy { $0.header("Content-Type") == "application/x-www-form-urlencoded" })
        #expect(try await session.pendingCode() == nil)
    }

    @Test func aPendingCodeSurvivesARestart() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        let code = try await DeviceLogin(session: fixture.session()) { _ in }.begin()
        #expect(code.userCode == "WDJB-MJHT")
        let sealed = try Data(contentsOf: URL(filePath: fixture.directory + "/login.sealed"))
        #expect(sealed.range(of: Data("dc-secret".utf8)) == nil)

        fixture.server.route("/oauth/token", LoginFixture.refusal("authorization_pending"))
        var error: (any Error)?
        do { try await DeviceLogin(session: fixture.session()) { _ in }.redeemPending() } catch let thrown {
            error = thrown
        }
        #expect((error as? LoginError)?.message.contains("WDJB-MJHT") == true)

        fixture.server.route("/oauth/token", LoginFixture.response("1"))
        let (codes, failure) = await login(try fixture.session())
        #expect(failure == nil && codes == ["WDJB-MJHT"])
        #expect(fixture.count("/oauth/device/code") == 1)
    }

    @Test func anExpiredCodeIsFollowedByAnother() async throws {
        fixture.server.route(
            "/oauth/device/code", .json(Self.code), .json(Self.code.replacing("WDJB-MJHT", with: "SECO-NDXX")))
        fixture.server.route("/oauth/token", LoginFixture.refusal("expired_token"), LoginFixture.response("1"))
        let (codes, error) = await login(try fixture.session())
        #expect(error == nil && codes == ["WDJB-MJHT", "SECO-NDXX"])
    }

    @Test func aDeniedLoginEndsAndLeavesNoCode() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route("/oauth/token", LoginFixture.refusal("access_denied"))
        let session = try fixture.session()
        #expect(await login(session).error == .denied)
        #expect(try await session.pendingCode() == nil)
    }

    @Test func whoeverDidNotPollLearnsOfADenialToo() async throws {
        let fixture = fixture
        fixture.server.route("/oauth/device/code", .json(Self.code))
        // Denied once both have shown the code, so that one of them polls and the other watches.
        let shown = Counter()
        fixture.server.route("/oauth/token") { _ in
            LoginFixture.refusal(shown.value == 2 ? "access_denied" : "authorization_pending")
        }
        let errors = await withTaskGroup(of: LoginError?.self) { group in
            for byHand in [false, true] {
                group.addTask {
                    do {
                        try await DeviceLogin(session: fixture.session()) { event in
                            if case .code = event { shown.increase() }
                        }.run(replacing: byHand)
                        return nil
                    } catch {
                        return error as? LoginError
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(errors == [.denied, .denied])
        #expect(fixture.count("/oauth/device/code") == 1)
    }

    @Test func aDenialHoldsUntilAPersonAsksAnew() async throws {
        fixture.server.route(
            "/oauth/device/code", .json(Self.code), .json(Self.code.replacing("WDJB-MJHT", with: "SECO-NDXX")))
        fixture.server.route("/oauth/token", LoginFixture.refusal("access_denied"), LoginFixture.response("1"))
        #expect(await login(try fixture.session()).error == .denied)
        // Another process by itself asks for no other code.
        let (codes, error) = await login(try fixture.session())
        #expect(codes.isEmpty && error == .denied)
        #expect(fixture.count("/oauth/device/code") == 1)
        let session = try fixture.session()
        try await DeviceLogin(session: session) { _ in }.run(replacing: true)
        #expect(try await session.isLoggedIn())
        #expect(try await session.storedRecord()?.denied == nil)
    }

    @Test func statusNamesADenial() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route("/oauth/token", LoginFixture.refusal("access_denied"))
        _ = await login(try fixture.session())
        let source = KeySource(configured: fixture.keyPath, credentialsDirectory: nil, fallback: "")
        let state = await LoginState.read(
            directory: fixture.directory, keySource: source, serverURL: fixture.server.url, clientID: nil)
        #expect(state.kind == .denied && state.pending == nil)
    }

    struct Redemption: Sendable, CustomTestStringConvertible {
        var name: String
        var answer: ScriptedServer.Answer
        var says: String
        var keepsCode = true
        var testDescription: String { name }
    }

    @Test(arguments: [
        Redemption(name: "pending", answer: LoginFixture.refusal("authorization_pending"), says: "still waits"),
        Redemption(name: "slow_down", answer: LoginFixture.refusal("slow_down"), says: "still waits"),
        Redemption(name: "denied", answer: LoginFixture.refusal("access_denied"), says: "was denied", keepsCode: false),
        Redemption(
            name: "expired", answer: LoginFixture.refusal("expired_token"), says: "has expired", keepsCode: false),
        Redemption(name: "lost", answer: LoginFixture.refusal("invalid_grant"), says: "has expired", keepsCode: false),
        Redemption(name: "unknown", answer: LoginFixture.refusal("teapot"), says: "teapot", keepsCode: false),
        Redemption(name: "down", answer: .json("{}", status: 503), says: "status 503"),
        Redemption(name: "away", answer: .close, says: "could not be asked"),
        Redemption(
            name: "HTML", answer: .response(status: 200, headers: [:], body: Data("<p>".utf8)),
            says: "unexpected login response"),
    ])
    func whyThereIsNoLoginIsSaid(_ example: Redemption) async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route("/oauth/token", example.answer)
        let code = try await DeviceLogin(session: fixture.session()) { _ in }.begin()
        let session = try fixture.session()
        let error = await #expect(throws: LoginError.self) {
            try await DeviceLogin(session: session) { _ in }.redeemPending()
        }
        #expect(error?.code == "login.required")
        #expect(error?.message.contains(example.says) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(code.userCode) == true)
        #expect(try await (session.pendingCode() != nil) == example.keepsCode)
        guard example.name == "denied" else { return }
        // Also the next time, when there is nothing to poll for.
        let again = await #expect(throws: LoginError.self) {
            try await DeviceLogin(session: session) { _ in }.redeemPending()
        }
        #expect(again?.message.contains("was denied") == true)
        #expect(fixture.count("/oauth/token") == 1)
    }

    @Test func askingOnceKeepsTheIntervalAndLetsOthersPoll() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route(
            "/oauth/token", LoginFixture.refusal("slow_down"), LoginFixture.refusal("authorization_pending"))
        let login = DeviceLogin(session: try fixture.session()) { _ in }
        _ = try await login.begin()
        func ask() async -> LoginError? {
            await #expect(throws: LoginError.self) {
                try await DeviceLogin(session: fixture.session()) { _ in }.redeemPending()
            }
        }
        _ = await ask()
        #expect(fixture.clock.sleeps.isEmpty)
        fixture.clock.advance(by: .seconds(3))
        _ = await ask()
        // Ten seconds since the poll before, of another session, and no longer five.
        #expect(fixture.clock.sleeps == [.seconds(7)])
        let lock = try #require(try LoginLock.attempt(.polling, directory: fixture.directory))
        #expect(await ask()?.message.contains("another process") == true)
        lock.release()
        #expect(fixture.count("/oauth/token") == 2)
    }

    @Test func allWhoDoNotWaitGetTheSameCode() async throws {
        let fixture = fixture
        fixture.server.route(
            "/oauth/device/code", .json(Self.code), .json(Self.code.replacing("WDJB-MJHT", with: "SECO-NDXX")))
        let codes = try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    try await DeviceLogin(session: fixture.session()) { _ in }.begin().userCode
                }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(codes == ["WDJB-MJHT"])
        #expect(fixture.count("/oauth/device/code") == 1)
    }

    @Test func anAnswerThatIsNoOAuthCostsNoCode() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route(
            "/oauth/token", .response(status: 200, headers: ["Content-Type": "text/html"], body: Data("<p>".utf8)),
            .json("{}", status: 404), .json(#"{"error": "temporarily_unavailable"}"#, status: 400),
            LoginFixture.response("1"))
        let (codes, error) = await login(try fixture.session())
        #expect(error == nil && codes == ["WDJB-MJHT"])
        #expect(fixture.count("/oauth/device/code") == 1)
    }

    @Test func aTooManyRequestsWithAnIntervalIsHeeded() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route(
            "/oauth/token", .json(#"{"error": "slow_down", "interval": 40}"#, status: 429), LoginFixture.response("1"))
        #expect(await login(try fixture.session()).error == nil)
        #expect(fixture.clock.sleeps == [.seconds(5), .seconds(40)])
    }

    @Test func aNewLoginEndsTheOneBefore() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route("/oauth/token", LoginFixture.response("2"))
        fixture.server.route("/oauth/revoke", .json(""))
        let session = try fixture.session()
        try await session.accept(fixture.tokens("1"))
        try await DeviceLogin(session: session) { _ in }.run(replacing: true)
        #expect(try await session.authorization() == Authorization(bearer: "access-2"))
        let revoked = fixture.server.requests.filter { $0.target == "/oauth/revoke" }
        #expect(revoked.map { LoginFixture.form($0)["token"] } == ["refresh-1", "access-1"])
    }

    @Test func whereTheOldLoginCantBeEndedThatIsSaid() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route("/oauth/token", LoginFixture.response("2"))
        fixture.server.route("/oauth/revoke", .json("{}", status: 503))
        let session = try fixture.session()
        try await session.accept(fixture.tokens("1"))
        let problems = Mutex<[String]>([])
        try await DeviceLogin(session: session) { event in
            if case .oldLoginStays(let error) = event { problems.withLock { $0.append(error.code) } }
        }.run(replacing: true)
        #expect(problems.withLock { $0 } == ["login.unavailable"])
        #expect(try await session.authorization() == Authorization(bearer: "access-2"))
    }

    @Test func aServerThatRepeatsTheDeviceCodeDoesNotPutItInErrors() async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code.replacing("dc-secret", with: "dc/secret+1=")))
        fixture.server.route("/oauth/token") { request in
            let form = String(decoding: request.body, as: UTF8.self)
            return .json(
                #"{"error": "x dc/secret+1=", "error_description": "no dc\/secret\u002b1= in \#(form)"}"#, status: 400)
        }
        let error = try #require(await login(try fixture.session()).error)
        #expect(error.code == "login.refused")
        #expect(error.message.contains("(hidden)") && error.message.contains("device_code="))
        #expect(!error.message.contains("secret"))
        #expect(!"\(error)".contains("secret"))
    }

    @Test func aTokenFromElsewhereEndsTheWait() async throws {
        let fixture = fixture
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route("/oauth/token", LoginFixture.refusal("authorization_pending"))
        let other = try fixture.session()
        let tokens = fixture.tokens("elsewhere")
        let session = try fixture.session()
        try await DeviceLogin(session: session) { event in
            if case .code = event { _ = try? await other.accept(tokens) }
        }.run()
        #expect(try await session.authorization() == Authorization(bearer: "access-elsewhere"))
        #expect(fixture.count("/oauth/token") == 0)
    }

    @Test func twoWhoLogInShareOneCode() async throws {
        let fixture = fixture
        fixture.server.route("/oauth/device/code", .json(Self.code))
        // Approved once both have shown the code.
        let shown = Counter()
        fixture.server.route("/oauth/token") { _ in
            shown.value == 2
                ? LoginFixture.response("1") : LoginFixture.refusal("authorization_pending")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                let session = try fixture.session()
                group.addTask {
                    try await DeviceLogin(session: session) { event in
                        if case .code = event { shown.increase() }
                    }.run()
                }
            }
            try await group.waitForAll()
        }
        #expect(fixture.count("/oauth/device/code") == 1)
        #expect(try await fixture.session().isLoggedIn())
    }

    struct BadAnswer: Sendable, CustomTestStringConvertible {
        var name: String
        var path = "/oauth/token"
        var answer: ScriptedServer.Answer
        var code: String
        var testDescription: String { name }
    }

    static let badAnswers = [
        BadAnswer(
            name: "HTML with 200",
            answer: .response(status: 200, headers: ["Content-Type": "text/html"], body: Data("<html>hush".utf8)),
            code: "login.invalid_answer"),
        BadAnswer(name: "404", answer: .json("{}", status: 404), code: "login.no_endpoint"),
        BadAnswer(name: "403 without an error", answer: .json("{}", status: 403), code: "login.invalid_answer"),
        BadAnswer(name: "no access_token", answer: .json(#"{"token_type": "Bearer"}"#), code: "login.invalid_answer"),
        BadAnswer(
            name: "another token type", answer: .json(#"{"access_token": "a", "token_type": "mac"}"#),
            code: "login.invalid_answer"),
        BadAnswer(
            name: "an error with 200", answer: .json(#"{"error": "teapot", "error_description": "short\u001b[2J"}"#),
            code: "login.refused"),
        BadAnswer(
            name: "a token of 100 kB",
            answer: .json(#"{"access_token": "\#(String(repeating: "x", count: 100_000))", "token_type": "Bearer"}"#),
            code: "login.invalid_token"),
        BadAnswer(
            name: "a token with a line break", answer: .json(#"{"access_token": "a\r\nX: y", "token_type": "Bearer"}"#),
            code: "login.invalid_token"),
        BadAnswer(
            name: "a body of 10 MB", answer: .truncated(body: Data(), announced: 10_000_000),
            code: "http.response_too_large"),
        BadAnswer(name: "an array", answer: .json("[]"), code: "login.invalid_answer"),
        BadAnswer(name: "nothing", answer: .json(""), code: "login.invalid_answer"),
        BadAnswer(
            name: "no device_code", path: "/oauth/device/code",
            answer: .json(#"{"user_code": "A", "verification_uri": "https://b"}"#), code: "login.invalid_answer"),
        BadAnswer(
            name: "no user_code", path: "/oauth/device/code",
            answer: .json(#"{"device_code": "A", "verification_uri": "https://b"}"#), code: "login.invalid_answer"),
        BadAnswer(
            name: "no address", path: "/oauth/device/code",
            answer: .json(#"{"device_code": "A", "user_code": "B"}"#), code: "login.invalid_answer"),
        BadAnswer(
            name: "an address that is none", path: "/oauth/device/code",
            answer: .json(#"{"device_code": "A", "user_code": "B", "verification_uri": "javascript:x"}"#),
            code: "login.invalid_answer"),
        BadAnswer(
            name: "a code that moves the cursor", path: "/oauth/device/code",
            answer: .json(#"{"device_code": "A", "user_code": "B\u001b[2J", "verification_uri": "https://b"}"#),
            code: "login.invalid_answer"),
        BadAnswer(
            name: "HTML instead of a code", path: "/oauth/device/code",
            answer: .response(status: 200, headers: ["Content-Type": "text/html"], body: Data("<html>".utf8)),
            code: "login.invalid_answer"),
    ]

    @Test(arguments: badAnswers)
    func whatCantBeUsedIsRefused(_ example: BadAnswer) async throws {
        fixture.server.route("/oauth/device/code", .json(Self.code))
        fixture.server.route(example.path, example.answer)
        let (_, error) = await login(try fixture.session())
        #expect(error?.code == example.code)
        #expect(error?.message.unicodeScalars.allSatisfy { $0.value >= 0x20 } == true)
        #expect(error?.message.contains("hush") == false)
        #expect((error?.message.count ?? 0) < 1000)
    }

    struct Numbers: Sendable, CustomTestStringConvertible {
        var fields: String
        var interval: Duration
        var lifetime: Int
        var testDescription: String { fields }
    }

    @Test(arguments: [
        Numbers(fields: "", interval: .seconds(5), lifetime: 600),
        Numbers(fields: #", "interval": 0, "expires_in": 0"#, interval: .seconds(5), lifetime: 600),
        Numbers(fields: #", "interval": -7, "expires_in": -1"#, interval: .seconds(5), lifetime: 600),
        Numbers(fields: #", "interval": null, "expires_in": "60""#, interval: .seconds(5), lifetime: 60),
        Numbers(fields: #", "interval": "9", "expires_in": 1e300"#, interval: .seconds(9), lifetime: 86_400),
        Numbers(fields: #", "interval": 1e18, "expires_in": 99999999999"#, interval: .seconds(3600), lifetime: 86_400),
        Numbers(fields: #", "interval": true, "expires_in": []"#, interval: .seconds(5), lifetime: 600),
    ])
    func numbersThatMakeNoSenseAreReplaced(_ example: Numbers) async throws {
        fixture.server.route(
            "/oauth/device/code",
            .json(#"{"device_code": "A", "user_code": "B", "verification_uri": "https://b"\#(example.fields)}"#))
        fixture.server.route("/oauth/token", LoginFixture.response("1"))
        let code = try await DeviceLogin(session: fixture.session()) { _ in }.begin()
        #expect(code.lifetime == example.lifetime)
        #expect(await login(try fixture.session()).error == nil)
        #expect(fixture.clock.sleeps.reduce(.zero, +) == example.interval)
    }
}

/// How often something happened, in whichever task.
private final class Counter: Sendable {
    private let count = Mutex(0)

    var value: Int { count.withLock { $0 } }
    func increase() { count.withLock { $0 += 1 } }
}
