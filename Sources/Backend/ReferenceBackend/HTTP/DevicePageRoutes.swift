import AgentModel
import Cryptography
import Diagnostics
import Foundation
import Hummingbird
import Logging

/// The page for codes over HTTP: who is logged in, which step a form is, and what it may do.
struct DevicePageRoutes: Sendable {
    static let path = "/device"
    private static let cookieName = "runbook_session"

    let service: BackendService
    let site: Site
    private let wrongTokens = AttemptLimiter()
    private let wrongCodes = AttemptLimiter()

    init(service: BackendService, site: Site) {
        self.service = service
        self.site = site
    }

    func addRoutes(to router: Router<BackendRequestContext>) {
        router.get("\(Self.path)") { request, context in
            try await answer(request, context) { try await show(request) }
        }
        router.post("\(Self.path)") { request, context in
            try await answer(request, context) { try await take(request, context) }
        }
    }

    // A code in the address fills the field in and does no more: whoever made the link chose it
    // (RFC 8628, section 5.4).
    private func show(_ request: Request) async throws -> Response {
        let userCode = request.query("user_code").map { String($0.prefix(20)) }
        guard let session = try await session(of: request) else {
            return DevicePage.response(DevicePage.login(userCode: userCode))
        }
        return DevicePage.response(
            DevicePage.code(userCode: userCode, formToken: BackendService.formToken(of: session)))
    }

    private func take(_ request: Request, _ context: BackendRequestContext) async throws -> Response {
        guard site.isOwnPage(request) else { throw ReferenceBackendError.forgedRequest }
        let form: FormParameters
        do {
            form = try await FormParameters(request)
        } catch let problem as FormParameters.Problem {
            throw ReferenceBackendError.invalidBody(problem: problem.text)
        }
        if form["step"] == "login" { return try await logIn(form, context) }
        guard let session = try await session(of: request) else {
            return DevicePage.response(
                DevicePage.login(userCode: form["user_code"], problem: "You are not logged in, or no longer."),
                status: .unauthorized)
        }
        let formToken = BackendService.formToken(of: session)
        guard ConstantTime.isEqual((form["form_token"] ?? "").utf8, formToken.utf8) else {
            throw ReferenceBackendError.forgedRequest
        }
        switch form["step"] {
        case "code": return try await lookUp(form, session, formToken)
        case "decision": return try await decide(form, session, formToken, context)
        case "logout": return try await logOut(session)
        default: throw ReferenceBackendError.invalidField("step", problem: "there is no such step")
        }
    }

    private func logIn(_ form: FormParameters, _ context: BackendRequestContext) async throws -> Response {
        let userCode = form["user_code"].map { String($0.prefix(20)) }
        let token = (form["token"] ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
        // Looked at first: however many wrong ones came from there, the right one isn't refused. There is nothing to
        // guess in 256 random bits; what is counted keeps the log short.
        guard let session = try await service.beginSession(token: token) else {
            try wrongTokens.begin(BackendService.network(of: context.clientAddress), at: service.now())
            context.logger.warning(
                "wrong administration token on the page", metadata: ["address": "\(context.clientAddress)"])
            return DevicePage.response(
                DevicePage.login(userCode: userCode, problem: "This is not the administration token."),
                status: .unauthorized)
        }
        context.audit("logged in to the page", by: .session, secret: session)
        return redirect(
            to: userCode.flatMap(UserCode.init(typed:)).map { "\(Self.path)?user_code=\($0)" } ?? Self.path,
            cookie: session, maximumAge: BackendService.sessionLifetime)
    }

    private func lookUp(_ form: FormParameters, _ session: String, _ formToken: String) async throws -> Response {
        let login: DeviceLogin
        switch try await pendingLogin(form, session, formToken) {
        case .success(let found): login = found
        case .failure(let refusal): return refusal.response
        }
        return DevicePage.response(
            DevicePage.decision(
                on: login, agents: try await service.agents(), formToken: formToken, now: service.now()))
    }

    private func decide(
        _ form: FormParameters, _ session: String, _ formToken: String, _ context: BackendRequestContext
    ) async throws -> Response {
        let login: DeviceLogin
        switch try await pendingLogin(form, session, formToken) {
        case .success(let found): login = found
        case .failure(let refusal): return refusal.response
        }
        do {
            switch form["decision"] {
            case "approve":
                let agent = try await service.approveLogin(login.userCode, as: try choice(in: form))
                context.audit(
                    "approved the code \(login.userCode) as the agent \(quoted(agent.id))", by: .session,
                    secret: session)
                return DevicePage.response(DevicePage.approved(login.userCode, as: agent))
            case "deny":
                try await service.denyLogin(login.userCode)
                context.audit("denied the code \(login.userCode)", by: .session, secret: session)
                return DevicePage.response(DevicePage.denied(login.userCode))
            default: throw ReferenceBackendError.invalidField("decision", problem: "it is approve or deny")
            }
        } catch let error as ReferenceBackendError {
            return DevicePage.response(
                DevicePage.decision(
                    on: login, agents: try await service.agents(), formToken: formToken, now: service.now(),
                    problem: error.sentence), status: error.status)
        }
    }

    /// The login that a form's code is of, or the page that says why there is none. Every step that takes a code
    /// counts the wrong ones: a step that didn't would be the one to guess with. Counted for each session, since only who
    /// is logged in gets here: nobody else's attempts keep an administrator out.
    private func pendingLogin(
        _ form: FormParameters, _ session: String, _ formToken: String
    ) async throws -> Result<DeviceLogin, Refusal> {
        let time = service.now()
        try wrongCodes.begin(session, at: time)
        let typed = form["user_code"] ?? ""
        do {
            let login = try await service.pendingLogin(typed)
            wrongCodes.succeed(session, begunAt: time)
            return .success(login)
        } catch let error as ReferenceBackendError {
            // Expired or decided: that was a right code.
            if case .notPending = error { wrongCodes.succeed(session, begunAt: time) }
            let page = DevicePage.code(
                userCode: String(typed.prefix(20)), formToken: formToken, problem: error.sentence)
            return .failure(Refusal(response: DevicePage.response(page, status: error.status)))
        }
    }

    private func choice(in form: FormParameters) throws(ReferenceBackendError) -> AgentChoice {
        let name = form["name"]?.trimmingCharacters(in: .whitespaces)
        let given = name?.isEmpty == true ? nil : name
        switch form["agent"] {
        case "new": return .new(name: given)
        case "existing":
            guard let id = form["agent_id"] else {
                throw ReferenceBackendError.invalidField("agent_id", problem: "choose the agent")
            }
            return .existing(id: id.trimmingCharacters(in: .whitespaces), name: given)
        default:
            throw ReferenceBackendError.invalidField("agent", problem: "it is new or existing")
        }
    }

    private func logOut(_ session: String) async throws -> Response {
        try await service.endSession(session)
        return redirect(to: Self.path, cookie: "", maximumAge: 0)
    }

    private func session(of request: Request) async throws -> String? {
        guard let session = request.cookies[Self.cookieName]?.value else { return nil }
        return try await service.isSession(session) ? session : nil
    }

    private func redirect(to path: String, cookie: String, maximumAge: Int) -> Response {
        var response = Response(status: .seeOther, headers: DevicePage.headers)
        response.headers[.location] = path
        let secure = site.publicOrigin?.isSecure == true ? "; Secure" : ""
        response.headers[.setCookie] =
            "\(Self.cookieName)=\(cookie); Max-Age=\(maximumAge); Path=\(Self.path); HttpOnly; SameSite=Strict\(secure)"
        return response
    }

    /// Answers with a page also where something is wrong.
    private func answer(
        _ request: Request, _ context: BackendRequestContext, _ body: () async throws -> Response
    ) async throws -> Response {
        do {
            return try await body()
        } catch let error as ReferenceBackendError where error.isInternal {
            context.logger.critical("\(error.message)", metadata: ["path": "\(request.uri.path)"])
            return DevicePage.response(
                DevicePage.refused("The backend cannot reach its storage; see its log."), status: error.status)
        } catch let error as ReferenceBackendError {
            context.logger.debug("refused", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            var response = DevicePage.response(DevicePage.refused(error.sentence), status: error.status)
            if case .tooManyAttempts(let seconds) = error { response.headers[.retryAfter] = "\(seconds)" }
            return response
        } catch is CancellationError {
            return DevicePage.response(
                DevicePage.refused("The backend is stopping; try again."), status: .serviceUnavailable)
        } catch {
            // What went wrong in here is for the log: it may name files, and the browser can't mend it.
            context.logger.error("internal error", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return DevicePage.response(
                DevicePage.refused("The backend failed; see its log."), status: .internalServerError)
        }
    }
}

/// A page that ends a step.
private struct Refusal: Error {
    var response: Response
}

extension ReferenceBackendError {
    /// The message as a sentence on a page.
    fileprivate var sentence: String { message.prefix(1).uppercased() + message.dropFirst() + "." }
}
