import AgentModel
import Foundation
import Hummingbird
import Logging

/// The OAuth endpoints for agents: `/oauth/device/code`, `/oauth/token`, `/oauth/revoke`.
struct OAuthRoutes: Sendable {
    let service: BackendService
    let site: Site

    static let deviceCodeGrant = "urn:ietf:params:oauth:grant-type:device_code"

    func addRoutes(to router: Router<BackendRequestContext>) {
        let group = router.group("/oauth")
        group.post("/device/code") { request, context in
            try await answer(request, context) { try await deviceCode(request, $0, context) }
        }
        group.post("/token") { request, context in
            try await answer(request, context) { try await token(request, $0) }
        }
        group.post("/revoke") { request, context in
            try await answer(request, context) { try await revoke(request, $0) }
        }
    }

    private func deviceCode(
        _ request: Request, _ form: FormParameters, _ context: BackendRequestContext
    ) async throws -> Response {
        let clientID = try required("client_id", in: form)
        let scope = try scope(in: form) ?? ""
        // One that is too long or not of a name's characters is left out: a login doesn't fail for it.
        let hostName = form["host_name"].flatMap { name in
            (1...253).contains(name.utf8.count) && name.utf8.allSatisfy { (0x21...0x7E).contains($0) } ? name : nil
        }
        let authorization = try await service.beginLogin(
            clientID: clientID, scope: scope, address: context.clientAddress, hostName: hostName)
        let page = site.devicePage(for: request)
        return try reply(
            DeviceCodeReply(
                deviceCode: authorization.deviceCode, userCode: "\(authorization.userCode)", verificationURI: page,
                verificationURIComplete: "\(page)?user_code=\(authorization.userCode)",
                expiresIn: authorization.expiresIn, interval: authorization.interval))
    }

    private func token(_ request: Request, _ form: FormParameters) async throws -> Response {
        switch try required("grant_type", in: form) {
        case Self.deviceCodeGrant:
            let clientID = try required("client_id", in: form)
            let deviceCode = try required("device_code", in: form)
            return try reply(try await service.redeem(deviceCode: deviceCode, clientID: clientID))
        case "refresh_token":
            let token = try required("refresh_token", in: form)
            return try reply(
                try await service.refresh(
                    token, clientID: try optional("client_id", in: form), scope: try scope(in: form)))
        default:
            throw OAuthError(.unsupportedGrantType, "this backend has the grants device_code and refresh_token")
        }
    }

    private func revoke(_ request: Request, _ form: FormParameters) async throws -> Response {
        let token = try required("token", in: form)
        try await service.revoke(token, clientID: try optional("client_id", in: form))
        return Response(status: .ok, headers: Self.uncached)
    }

    /// Answers with what the body makes of the form, or with the error as RFC 6749, section 5.2, has it.
    private func answer(
        _ request: Request, _ context: BackendRequestContext, _ body: (FormParameters) async throws -> Response
    ) async throws -> Response {
        do {
            // Agents are public clients (RFC 6749, section 2.1): who shows a password expects it to be checked.
            guard request.headers[.authorization] == nil else {
                throw OAuthError(.invalidClient, "clients of this backend have no secret; send client_id in the body")
            }
            return try await body(try await FormParameters(request))
        } catch let error as OAuthError {
            return try reply(error)
        } catch let problem as FormParameters.Problem {
            return try reply(OAuthError(.invalidRequest, problem.text))
        } catch ReferenceBackendError.tooLarge {
            return try reply(
                OAuthError(.invalidRequest, "the body is larger than \(FormParameters.limit) bytes"),
                status: .contentTooLarge)
        } catch let error as ReferenceBackendError where error.isInternal {
            context.logger.critical("\(error.message)", metadata: ["path": "\(request.uri.path)"])
            return try reply(
                OAuthError(.temporarilyUnavailable, "the backend cannot reach its storage; see its log"),
                status: .serviceUnavailable)
        } catch is CancellationError {
            return try reply(
                OAuthError(.temporarilyUnavailable, "the backend is stopping; try again"), status: .serviceUnavailable)
        } catch {
            // What went wrong in here is for the log: it may name files, and the client can't mend it.
            context.logger.error("internal error", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return try reply(
                OAuthError(.serverError, "the backend failed; see its log"), status: .internalServerError)
        }
    }

    private func required(_ name: String, in form: FormParameters) throws(OAuthError) -> String {
        guard let value = try optional(name, in: form) else {
            throw OAuthError(.invalidRequest, "the parameter \(name) is missing")
        }
        return value
    }

    /// A parameter in visible ASCII and spaces, which codes, tokens and ids are (RFC 6749, appendix A).
    private func optional(_ name: String, in form: FormParameters) throws(OAuthError) -> String? {
        guard let value = form[name] else { return nil }
        guard value.utf8.count <= 1000, value.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw OAuthError(.invalidRequest, "the parameter \(name) is not up to 1000 characters of visible ASCII")
        }
        return value
    }

    /// RFC 6749, section 3.3.
    private func scope(in form: FormParameters) throws(OAuthError) -> String? {
        guard let scope = form["scope"] else { return nil }
        let isWellFormed = scope.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C }
        guard isWellFormed, scope.utf8.count <= 1000 else {
            throw OAuthError(.invalidScope, "a scope is words of visible ASCII, 1000 characters at most")
        }
        return scope
    }

    private func reply(_ value: some Encodable) throws -> Response {
        var response = JSONReply.response(try JSONReply.encoded(value), status: .ok)
        response.headers.append(contentsOf: Self.uncached)
        return response
    }

    private func reply(_ error: OAuthError, status: HTTPResponse.Status? = nil) throws -> Response {
        let body = OAuthErrorReply(
            error: error.code.rawValue, description: Self.printable(error.description), interval: error.interval)
        var response = JSONReply.response(try JSONReply.encoded(body), status: status ?? error.status)
        response.headers.append(contentsOf: Self.uncached)
        if error.code == .invalidClient, error.status == .unauthorized {
            response.headers[.wwwAuthenticate] = "Basic realm=\"runbook-backend\""
        }
        response.headers[.retryAfter] = error.retryAfter.map(String.init)
        return response
    }

    /// The characters that an error's description may have (RFC 6749, section 5.2).
    private static func printable(_ text: String) -> String {
        String(
            decoding: text.utf8.map { $0 == 0x22 || $0 == 0x5C ? 0x27 : (0x20...0x7E).contains($0) ? $0 : 0x3F },
            as: UTF8.self)
    }

    private static let uncached: HTTPFields = [.cacheControl: "no-store"]
}

private struct DeviceCodeReply: Encodable {
    var deviceCode: String
    var userCode: String
    var verificationURI: String
    var verificationURIComplete: String
    var expiresIn: Int
    var interval: Int

    private enum CodingKeys: String, CodingKey {
        case deviceCode = "device_code"
        case userCode = "user_code"
        case verificationURI = "verification_uri"
        case verificationURIComplete = "verification_uri_complete"
        case expiresIn = "expires_in"
        case interval
    }
}

private struct OAuthErrorReply: Encodable {
    var error: String
    var description: String
    var interval: Int?

    private enum CodingKeys: String, CodingKey {
        case error, interval
        case description = "error_description"
    }
}

extension OAuthError {
    fileprivate var status: HTTPResponse.Status {
        switch code {
        case .invalidClient: .unauthorized
        case .temporarilyUnavailable: .tooManyRequests
        case .serverError: .internalServerError
        default: .badRequest
        }
    }
}
