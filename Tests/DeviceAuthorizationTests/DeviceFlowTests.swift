import BackendClient
import Foundation
import Testing

@testable import DeviceAuthorization

/// Every answer that RFC 8628 and RFC 6749 know, and those that nobody ought to give.
@Suite struct DeviceFlowTests {
    static let start = Duration.seconds(100)
    static let tokens = TokenSet(
        accessToken: "hush", refreshToken: nil, lifetime: 3600, obtainedAt: Date(timeIntervalSince1970: 0))

    static func code(interval: Int = 5, lifetime: Int = 600) -> DeviceCode {
        DeviceCode(
            deviceCode: "secret", userCode: "WDJB-MJHT", verificationURI: "https://b/device",
            verificationURIComplete: nil, lifetime: lifetime, interval: interval,
            issuedAt: Date(timeIntervalSince1970: 0), clientID: "c")
    }

    static func error<Content>(
        _ error: String, _ description: String? = nil, interval: Int? = nil
    ) -> OAuthAnswer<Content> {
        .error(error, description: description, interval: interval, url: "u")
    }

    static let down = LoginError.transport(.unreachable(host: "b", port: 1, problem: "refused"))

    static let nonsense = LoginError.noEndpoint(url: "u", status: 404)

    /// What an answer to a poll leads to.
    struct PollCase: Sendable, CustomTestStringConvertible {
        var name: String
        var answers: [OAuthAnswer<TokenSet>]
        var interval = 5
        /// After the last of the answers.
        var waits: Duration?
        var fails: LoginError?
        var succeeds = false
        var startsOver = false
        var keepsInterval: Int?
        var testDescription: String { name }
    }

    static let polls = [
        PollCase(name: "pending", answers: [error("authorization_pending")], waits: .seconds(5)),
        PollCase(
            name: "the server's interval", answers: [error("authorization_pending")], interval: 17, waits: .seconds(17)),
        PollCase(name: "slow_down", answers: [error("slow_down")], waits: .seconds(10), keepsInterval: 10),
        PollCase(
            name: "slow_down stays", answers: [error("slow_down"), error("slow_down"), error("authorization_pending")],
            waits: .seconds(15)),
        PollCase(
            name: "slow_down with a longer interval", answers: [error("slow_down", interval: 40)], waits: .seconds(40),
            keepsInterval: 40),
        PollCase(
            name: "slow_down with a shorter interval", answers: [error("slow_down", interval: 1)], waits: .seconds(10),
            keepsInterval: 10),
        PollCase(
            name: "429 as slow_down", answers: [.tooManyRequests(url: "u", retryAfter: nil, interval: nil)],
            waits: .seconds(10),
            keepsInterval: 10),
        PollCase(
            name: "429 with a longer Retry-After",
            answers: [.tooManyRequests(url: "u", retryAfter: .seconds(60), interval: nil)],
            waits: .seconds(60), keepsInterval: 10),
        PollCase(
            name: "429 with a shorter Retry-After",
            answers: [.tooManyRequests(url: "u", retryAfter: .seconds(2), interval: nil)],
            waits: .seconds(10)),
        PollCase(
            name: "429's Retry-After holds once",
            answers: [
                .tooManyRequests(url: "u", retryAfter: .seconds(60), interval: nil), error("authorization_pending"),
            ],
            waits: .seconds(10)),
        PollCase(
            name: "429 with a longer interval",
            answers: [
                .tooManyRequests(url: "u", retryAfter: .seconds(2), interval: 40), error("authorization_pending"),
            ],
            waits: .seconds(40)),
        PollCase(
            name: "429 with a shorter interval",
            answers: [.tooManyRequests(url: "u", retryAfter: nil, interval: 1)], waits: .seconds(10), keepsInterval: 10),
        PollCase(name: "nobody there", answers: [.unavailable(down, retryAfter: nil)], waits: .seconds(10)),
        PollCase(
            name: "nobody there doubles",
            answers: [
                .unavailable(down, retryAfter: nil), .unavailable(down, retryAfter: nil),
                .unavailable(down, retryAfter: nil),
            ], waits: .seconds(40)),
        PollCase(
            name: "there again", answers: [.unavailable(down, retryAfter: nil), error("authorization_pending")],
            waits: .seconds(5)),
        PollCase(
            name: "503 with Retry-After",
            answers: [.unavailable(.unavailable(url: "u", status: 503), retryAfter: .seconds(90))],
            waits: .seconds(90)),
        PollCase(name: "denied", answers: [error("access_denied")], fails: .denied),
        PollCase(name: "expired", answers: [error("expired_token")], startsOver: true),
        PollCase(
            name: "an unknown error", answers: [error("teapot", "short and stout")],
            fails: .refused(url: "u", error: "teapot", description: "short and stout")),
        PollCase(
            name: "invalid_client", answers: [error("invalid_client")],
            fails: .refused(url: "u", error: "invalid_client", description: nil)),
        PollCase(
            name: "invalid_grant", answers: [error("invalid_grant")],
            fails: .refused(url: "u", error: "invalid_grant", description: nil)),
        PollCase(
            name: "a token that can't be used", answers: [.unusable(.invalidToken(problem: "p"))],
            fails: .invalidToken(problem: "p")),
        PollCase(name: "no OAuth, as from a proxy", answers: [.unusable(nonsense)], waits: .seconds(10)),
        PollCase(
            name: "no OAuth doubles", answers: [.unusable(nonsense), .unusable(nonsense)], waits: .seconds(20)),
        PollCase(
            name: "OAuth again after none", answers: [.unusable(nonsense), error("authorization_pending")],
            waits: .seconds(5)),
        PollCase(name: "tokens after no OAuth", answers: [.unusable(nonsense), .content(tokens)], succeeds: true),
        PollCase(
            name: "nothing but no OAuth, to the end of the code",
            answers: Array(repeating: .unusable(nonsense), count: 7), fails: nonsense),
        PollCase(
            name: "no OAuth at the end of a code that was answered",
            answers: [error("authorization_pending")] + Array(repeating: .unusable(nonsense), count: 7),
            startsOver: true),
        PollCase(name: "tokens", answers: [.content(tokens)], succeeds: true),
        PollCase(name: "tokens in the end", answers: [error("slow_down"), .content(tokens)], succeeds: true),
    ]

    @Test(arguments: polls)
    func anAnswerToAPoll(_ example: PollCase) {
        var flow = DeviceFlow()
        var now = Self.start
        let code = Self.code(interval: example.interval)
        #expect(flow.handle(.begin, now: now) == [.requestCode])
        var effects = flow.handle(.code(.content(code)), now: now)
        #expect(effects == [.keep(code), .show(code), .wait(.seconds(example.interval))])
        for answer in example.answers {
            guard case .wait(let wait)? = effects.last else { break }
            now += wait
            let poll = flow.handle(.timer, now: now)
            guard case .poll? = poll.last else {
                Issue.record("\(poll) instead of a poll")
                return
            }
            effects = flow.handle(.tokens(answer), now: now)
        }
        if let waits = example.waits { #expect(effects.last == .wait(waits)) }
        effects.removeAll { if case .trouble = $0 { true } else { false } }
        if let fails = example.fails { #expect(effects == [.fail(fails)]) }
        if example.succeeds { #expect(effects == [.succeed(Self.tokens)]) }
        if example.startsOver { #expect(effects == [.expired, .requestCode]) }
        if let interval = example.keepsInterval {
            #expect(effects.contains { if case .keep(let code) = $0 { code.interval == interval } else { false } })
        }
    }

    /// What an answer to the request for a code leads to.
    struct CodeCase: Sendable, CustomTestStringConvertible {
        var name: String
        var answers: [OAuthAnswer<DeviceCode>]
        var waits: Duration?
        var fails: LoginError?
        var testDescription: String { name }
    }

    static let codes = [
        CodeCase(name: "nobody there", answers: [.unavailable(down, retryAfter: nil)], waits: .seconds(5)),
        CodeCase(
            name: "nobody there doubles",
            answers: [.unavailable(down, retryAfter: nil), .unavailable(down, retryAfter: nil)], waits: .seconds(10)),
        CodeCase(
            name: "no further than five minutes",
            answers: Array(repeating: .unavailable(down, retryAfter: nil), count: 40), waits: .seconds(300)),
        CodeCase(
            name: "429", answers: [.tooManyRequests(url: "u", retryAfter: .seconds(77), interval: nil)],
            waits: .seconds(77)),
        CodeCase(name: "slow_down", answers: [error("slow_down", interval: 30)], waits: .seconds(30)),
        CodeCase(
            name: "invalid_scope", answers: [error("invalid_scope", "no such")],
            fails: .refused(url: "u", error: "invalid_scope", description: "no such")),
        CodeCase(name: "denied", answers: [error("access_denied")], fails: .denied),
        CodeCase(
            name: "no endpoint", answers: [.unusable(.noEndpoint(url: "u", status: 404))],
            fails: .noEndpoint(url: "u", status: 404)),
    ]

    @Test(arguments: codes)
    func anAnswerToTheRequestForACode(_ example: CodeCase) {
        var flow = DeviceFlow()
        var now = Self.start
        var effects = flow.handle(.begin, now: now)
        for answer in example.answers {
            if case .wait(let wait)? = effects.last {
                now += wait
                effects = flow.handle(.timer, now: now)
            }
            #expect(effects == [.requestCode])
            effects = flow.handle(.code(answer), now: now)
        }
        if let waits = example.waits { #expect(effects.last == .wait(waits)) }
        if let fails = example.fails { #expect(effects == [.fail(fails)]) }
    }

    @Test func aCodeEndsByOurOwnClockToo() {
        var flow = DeviceFlow()
        let code = Self.code(interval: 5, lifetime: 12)
        let pending: DeviceFlow.Event = .tokens(Self.error("authorization_pending"))
        _ = flow.handle(.begin, now: .zero)
        _ = flow.handle(.code(.content(code)), now: .zero)
        for time in [5, 10] {
            #expect(flow.handle(.timer, now: .seconds(time)) == [.poll(code)])
            // Not cut at the end of the code: the interval holds for the last poll too.
            #expect(flow.handle(pending, now: .seconds(time)) == [.wait(.seconds(5))])
        }
        // It may have been approved since the poll before.
        #expect(flow.handle(.timer, now: .seconds(15)) == [.poll(code)])
        #expect(flow.handle(pending, now: .seconds(15)) == [.expired, .requestCode])
    }

    @Test func aLongWaitIsCutAtTheEndOfTheCode() {
        var flow = DeviceFlow()
        _ = flow.handle(.begin, now: .zero)
        _ = flow.handle(.code(.content(Self.code(interval: 5, lifetime: 60))), now: .zero)
        _ = flow.handle(.timer, now: .seconds(5))
        let answer = OAuthAnswer<TokenSet>.unavailable(Self.down, retryAfter: .seconds(300))
        #expect(flow.handle(.tokens(answer), now: .seconds(5)).last == .wait(.seconds(55)))
        #expect(flow.handle(.timer, now: .seconds(60)).count == 1)
        #expect(flow.handle(.tokens(.content(Self.tokens)), now: .seconds(60)) == [.succeed(Self.tokens)])
    }

    @Test func codesThatLastNoTimeAreNotAskedForWithoutEnd() {
        var flow = DeviceFlow()
        let pending: DeviceFlow.Event = .tokens(Self.error("authorization_pending"))
        _ = flow.handle(.begin, now: .zero)
        _ = flow.handle(.code(.content(Self.code(interval: 1, lifetime: 1))), now: .zero)
        _ = flow.handle(.timer, now: .seconds(1))
        #expect(flow.handle(pending, now: .seconds(1)) == [.expired, .wait(.seconds(4))])
        #expect(flow.handle(.timer, now: .seconds(5)) == [.requestCode])
    }

    @Test func aCodeFromBeforeARestartIsGoneOnWith() {
        var flow = DeviceFlow()
        let code = Self.code(interval: 7, lifetime: 100)
        #expect(flow.handle(.resume(code, age: .seconds(40)), now: .zero) == [.show(code), .wait(.seconds(7))])
        #expect(flow.handle(.timer, now: .seconds(7)) == [.poll(code)])
        // Somebody else may have fetched its tokens.
        #expect(flow.handle(.tokens(Self.error("invalid_grant")), now: .seconds(7)) == [.expired, .requestCode])
        var late = DeviceFlow()
        #expect(late.handle(.resume(code, age: .seconds(100)), now: .zero) == [.expired, .requestCode])
    }

    @Test func whatDoesNotFitTheStateIsIgnored() {
        var flow = DeviceFlow()
        #expect(flow.handle(.timer, now: .zero).isEmpty)
        #expect(flow.handle(.tokens(.content(Self.tokens)), now: .zero).isEmpty)
        _ = flow.handle(.begin, now: .zero)
        #expect(flow.handle(.begin, now: .zero).isEmpty)
        #expect(flow.handle(.code(.unusable(.denied)), now: .zero) == [.fail(.denied)])
        #expect(flow.handle(.begin, now: .zero).isEmpty)
    }

    @Test func jitterOnlyLengthens() {
        var flow = DeviceFlow(jitter: 0.25)
        _ = flow.handle(.begin, now: .zero)
        let effects = flow.handle(.code(.unavailable(Self.down, retryAfter: nil)), now: .zero)
        #expect(effects.last == .wait(.milliseconds(6250)))
    }
}
