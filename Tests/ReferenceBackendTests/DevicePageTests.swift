import AgentModel
import AgentTestSupport
import BackendClient
import Foundation
import Testing

@testable import ReferenceBackend

/// `/device` as a browser, and as somebody who means harm, sees it. What needs a real browser is in
/// `Tests/LoginTests`.
@Suite struct DevicePageTests {
    /// A browser in which the administrator is logged in.
    private struct Browser {
        let client: DeviceClient
        let session: String

        init(_ backend: LiveBackend) async throws {
            client = try DeviceClient(backend)
            session = try #require(try await backend.service.beginSession(token: backend.administrationToken))
        }

        var formToken: String { BackendService.formToken(of: session) }

        func post(
            _ fields: [(String, String)], formToken: String? = nil, headers: [String: String] = [:]
        ) async throws -> TestClient.Answer {
            try await client.post(
                "/device", text: DeviceClient.encoded(fields + [("form_token", formToken ?? self.formToken)]),
                headers: ["Cookie": "runbook_session=\(session)"].merging(headers) { $1 })
        }

        func get(_ path: String) async throws -> TestClient.Answer {
            try await client.http.get(path, headers: ["Cookie": "runbook_session=\(session)"])
        }
    }

    private func withBrowser(
        now: @escaping @Sendable () -> Date = { Date() }, _ body: (Browser, LiveBackend) async throws -> Void
    ) async throws {
        try await LiveBackend.withLiveBackend(
            seed: QuickstartSeed.folder, authentication: .device, now: now
        ) { backend in try await body(try await Browser(backend), backend) }
    }

    private static func approval(_ code: String) -> [(String, String)] {
        [("step", "decision"), ("user_code", code), ("decision", "approve"), ("agent", "new"), ("name", "Kitchen")]
    }

    @Test func everyAnswerForbidsFramingCachingScriptsAndTellingWhereOneCameFrom() async throws {
        try await withBrowser { browser, _ in
            let answers = [
                try await browser.client.http.get("/device"), try await browser.get("/device"),
                try await browser.post([("step", "code"), ("user_code", "wrong")]),
                try await browser.post([("step", "nonsense")]),
                try await browser.post([], headers: ["Sec-Fetch-Site": "cross-site"]),
            ]
            for answer in answers {
                let policy = answer.response.header("Content-Security-Policy") ?? ""
                #expect(policy.hasPrefix("default-src 'none'; style-src 'sha512-"))
                #expect(policy.contains("frame-ancestors 'none'"))
                #expect(!policy.contains("unsafe"))
                #expect(answer.response.header("Cache-Control") == "no-store")
                #expect(answer.response.header("Referrer-Policy") == "no-referrer")
                #expect(answer.response.header("X-Content-Type-Options") == "nosniff")
                #expect(answer.response.header("Content-Type") == "text/html; charset=utf-8")
                #expect(!answer.page.lowercased().contains("<script"))
            }
        }
    }

    @Test func aCodeGoesFromEntryToDecisionToTokens() async throws {
        try await withBrowser { browser, backend in
            let codes = try await browser.client.begin()
            let asked = try await browser.post([("step", "code"), ("user_code", codes.userCode.lowercased())])
            #expect(asked.status == 200)
            for shown in [codes.userCode, "test-client", "127.0.0.1", "Test Agent"] {
                #expect(asked.page.contains(shown), "\(shown)")
            }
            try await browser.client.poll(codes).expectOAuthError("authorization_pending")
            let done = try await browser.post(Self.approval(codes.userCode))
            #expect(done.status == 200)
            #expect(done.page.contains("Approved") && done.page.contains("Kitchen"))
            let tokens = try DeviceClient.tokens(of: try await browser.client.poll(codes))
            #expect(try await browser.client.agent(tokens.access).data["name"] == "Kitchen")
            #expect(try await browser.post(Self.approval(codes.userCode)).status == 409)
        }
    }

    @Test func aHostCanBeBoundToAnAgentThatIsThereOrTurnedAway() async throws {
        try await withBrowser { browser, _ in
            let codes = try await browser.client.begin()
            let unknown = try await browser.post([
                ("step", "decision"), ("user_code", codes.userCode), ("decision", "approve"), ("agent", "existing"),
                ("agent_id", "nope"),
            ])
            #expect(unknown.status == 404)
            let bound = try await browser.post([
                ("step", "decision"), ("user_code", codes.userCode), ("decision", "approve"), ("agent", "existing"),
                ("agent_id", QuickstartSeed.agentID),
            ])
            #expect(bound.status == 200)
            let tokens = try DeviceClient.tokens(of: try await browser.client.poll(codes))
            #expect(try await browser.client.agent(tokens.access).data["name"] == "Test Agent")
            let other = try await browser.client.begin()
            let denied = try await browser.post([
                ("step", "decision"), ("user_code", other.userCode), ("decision", "deny"), ("agent", "new"),
            ])
            #expect(denied.page.contains("Denied"))
            try await browser.client.poll(other).expectOAuthError("access_denied")
        }
    }

    struct Forgery: Sendable, CustomTestStringConvertible {
        var name: String
        var formToken: String?
        var headers: [String: String] = [:]
        var status = 403
        var testDescription: String { name }
    }

    @Test(arguments: [
        Forgery(name: "no form token", formToken: ""), Forgery(name: "another form token", formToken: "0123"),
        Forgery(name: "foreign origin", headers: ["Origin": "https://evil.example"]),
        Forgery(name: "same host, other port", headers: ["Origin": "http://127.0.0.1:1"]),
        Forgery(name: "foreign site", headers: ["Sec-Fetch-Site": "cross-site"]),
        Forgery(name: "neighbouring site", headers: ["Sec-Fetch-Site": "same-site"]),
        Forgery(name: "hidden origin, no form token", formToken: "", headers: ["Origin": "null"]),
        Forgery(name: "no session", headers: ["Cookie": ""], status: 401),
        Forgery(name: "invented session", headers: ["Cookie": "runbook_session=rbs_00"], status: 401),
    ])
    func aForgedFormApprovesNothing(forgery: Forgery) async throws {
        try await withBrowser { browser, backend in
            let codes = try await browser.client.begin()
            let answer = try await browser.post(
                Self.approval(codes.userCode), formToken: forgery.formToken, headers: forgery.headers)
            #expect(answer.status == forgery.status)
            try await browser.client.poll(codes).expectOAuthError("authorization_pending")
            #expect(try await backend.service.agents().elements.count == 1)
        }
    }

    @Test func anotherSessionsFormTokenIsRefused() async throws {
        try await withBrowser { browser, backend in
            let other = try await Browser(backend)
            let codes = try await browser.client.begin()
            let answer = try await browser.post(Self.approval(codes.userCode), formToken: other.formToken)
            #expect(answer.status == 403)
        }
    }

    @Test func whatABrowserSendsAlongWithItsOwnFormIsAccepted() async throws {
        try await withBrowser { browser, backend in
            for headers in [
                ["Origin": "null", "Sec-Fetch-Site": "same-origin"], ["Origin": backend.url], ["Origin": "null"],
            ] {
                let codes = try await browser.client.begin()
                #expect(try await browser.post(Self.approval(codes.userCode), headers: headers).status == 200)
            }
        }
    }

    @Test func aLinkApprovesNothing() async throws {
        try await withBrowser { browser, _ in
            let codes = try await browser.client.begin()
            let query = DeviceClient.encoded(Self.approval(codes.userCode) + [("form_token", browser.formToken)])
            let answer = try await browser.get("/device?\(query)")
            #expect(answer.status == 200)
            #expect(answer.page.contains("value=\"\(codes.userCode)\""))
            try await browser.client.poll(codes).expectOAuthError("authorization_pending")
        }
    }

    @Test func whatOthersChooseIsShownAsText() async throws {
        try await withBrowser { browser, backend in
            let markup = #""><img src=x onerror='alert(1)'>"#
            let client = try DeviceClient(backend, clientID: markup)
            let codes = try await client.begin(scope: "<b>x</b>")
            _ = try await backend.service.updateAgent(
                QuickstartSeed.agentID, AgentChange(name: .set("</option><script>\u{202E}")))
            let answers = [
                try await browser.post([("step", "code"), ("user_code", codes.userCode)]),
                try await browser.post([("step", "code"), ("user_code", markup)]),
                try await browser.get("/device?user_code=\(DeviceClient.encoded([("", markup)]).dropFirst())"),
                try await client.http.get("/device?user_code=\(DeviceClient.encoded([("", markup)]).dropFirst())"),
            ]
            for answer in answers {
                for forbidden in ["<img", "<b>", "<script", "\u{202E}"] {
                    #expect(!answer.page.contains(forbidden), "\(forbidden)")
                }
            }
            #expect(answers[0].page.contains("&lt;b&gt;x&lt;/b&gt;"))
            #expect(answers[0].page.contains("&quot;&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;"))
        }
    }

    @Test(arguments: ["code", "decision"])
    func codesCantBeTriedOneAfterTheOther(step: String) async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await withBrowser(now: { clock.now }) { browser, _ in
            let codes = try await browser.client.begin()
            let guess = [("step", step), ("user_code", "BBBB-BBBB"), ("decision", "approve"), ("agent", "new")]
            for _ in 0..<10 { #expect(try await browser.post(guess).status == 404) }
            let refused = try await browser.post(guess)
            #expect(refused.status == 429)
            #expect(refused.response.header("Retry-After") == "600")
            #expect(try await browser.post(Self.approval(codes.userCode)).status == 429)
            clock.advance(by: 600)
            let late = try await browser.client.begin()
            #expect(try await browser.post([("step", "code"), ("user_code", late.userCode)]).status == 200)
        }
    }

    @Test func oneSessionsWrongCodesKeepNoOtherOut() async throws {
        try await withBrowser { browser, backend in
            let guess = [("step", "code"), ("user_code", "BBBB-BBBB")]
            for _ in 0..<10 { #expect(try await browser.post(guess).status == 404) }
            #expect(try await browser.post(guess).status == 429)
            let codes = try await browser.client.begin()
            let other = try await Browser(backend)
            #expect(try await other.post([("step", "code"), ("user_code", codes.userCode)]).status == 200)
        }
    }

    @Test func rightCodesDontCount() async throws {
        try await withBrowser { browser, _ in
            for _ in 0..<15 {
                let codes = try await browser.client.begin()
                #expect(try await browser.post([("step", "code"), ("user_code", codes.userCode)]).status == 200)
            }
        }
    }

    @Test func wrongAdministrationTokensAreRefusedCountedAndKeptOutOfThePage() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            for _ in 0..<10 {
                let answer = try await client.post("/device", [("step", "login"), ("token", "rba_guess")])
                #expect(answer.status == 401)
                #expect(!answer.page.contains("rba_guess"))
            }
            #expect(try await client.post("/device", [("step", "login"), ("token", "x")]).status == 429)
            // Whoever sent the wrong ones, perhaps through the same proxy: the right one is let in.
            let right = [("step", "login"), ("token", backend.administrationToken)]
            #expect(try await client.post("/device", right).response.url.path == "/device")
            #expect(try await client.post("/device", right).status == 200)
        }
    }

    @Test func guessesAtTheSameTimeAreCountedBeforeTheyAreAnswered() async throws {
        try await LiveBackend.withLiveBackend(authentication: .device) { backend in
            let client = try DeviceClient(backend)
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<30 {
                    group.addTask { try await client.post("/device", [("step", "login"), ("token", "x")]).status }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.count { $0 == 401 } == 10)
            #expect(statuses.count { $0 == 429 } == 20)
        }
    }

    @Test func aSessionEndsAfterAnHourAtLogoutAndWithTheTokenItCameFrom() async throws {
        let clock = ManualClock("2026-11-24T00:00:00Z")
        try await withBrowser(now: { clock.now }) { browser, backend in
            let code = [("step", "code"), ("user_code", "x")]
            clock.advance(by: 3599)
            #expect(try await browser.post(code).status == 404)
            clock.advance(by: 1)
            #expect(try await browser.post(code).status == 401)

            let second = try await Browser(backend)
            #expect(try await second.post([("step", "logout")]).response.url.path == "/device")
            #expect(try await second.post(code).status == 401)

            let third = try await Browser(backend)
            _ = try await backend.service.resetAdministrationToken()
            #expect(try await third.post(code).status == 401)
        }
    }
}

extension TestClient.Answer {
    fileprivate var page: String { String(decoding: response.body, as: UTF8.self) }
}
