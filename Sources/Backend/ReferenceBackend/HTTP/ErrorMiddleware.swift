import Hummingbird
import Logging

/// Answers every error as `{"error": {"code": …, "message": …, "field": …}}`.
struct ErrorMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: BackendRequestContext,
        next: (Request, BackendRequestContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as ReferenceBackendError where error.isInternal {
            // What went wrong in here is for the log: it names files, and the client can't mend it.
            context.logger.critical("\(error.message)", metadata: ["path": "\(request.uri.path)"])
            return try response(
                ErrorBody(
                    code: error.code, message: "the backend cannot reach its storage; see its log", field: nil),
                status: error.status)
        } catch let error as ReferenceBackendError {
            context.logger.debug(
                "refused", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return try response(to: error)
        } catch let error as any HTTPResponseError where error.status == .notFound {
            return try response(to: .notFound(.route, id: request.uri.path))
        } catch let error as any HTTPResponseError {
            return try response(
                ErrorBody(code: "request.refused", message: error.status.reasonPhrase, field: nil),
                status: error.status)
        } catch is CancellationError {
            return try response(
                ErrorBody(code: "backend.stopping", message: "the backend is stopping; try again", field: nil),
                status: .serviceUnavailable)
        } catch {
            // What went wrong in here is for the log: it may name files, and the client can't mend it.
            context.logger.error("internal error", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return try response(
                ErrorBody(code: "backend.internal", message: "the backend failed; see its log", field: nil),
                status: .internalServerError)
        }
    }

    private func response(to error: ReferenceBackendError) throws -> Response {
        var response = try response(
            ErrorBody(code: error.code, message: error.message, field: error.field), status: error.status)
        switch error {
        case .unauthorized, .agentUnauthorized(.missing): response.headers[.wwwAuthenticate] = "Bearer"
        // RFC 6750, section 3.1: the reason only for those who showed a token.
        case .agentUnauthorized(.invalid): response.headers[.wwwAuthenticate] = #"Bearer error="invalid_token""#
        case .tooManyAttempts(let seconds), .busy(let seconds): response.headers[.retryAfter] = "\(seconds)"
        // A person has to do something first.
        case .agentStorageFull: response.headers[.retryAfter] = "300"
        default: break
        }
        return response
    }

    private func response(_ body: ErrorBody, status: HTTPResponse.Status) throws -> Response {
        JSONReply.response(try JSONReply.encoded(["error": body]), status: status)
    }
}

private struct ErrorBody: Encodable {
    var code: String
    var message: String
    var field: String?
}

extension ReferenceBackendError {
    /// The status that tells it to a client.
    var status: HTTPResponse.Status {
        switch self {
        case .notFound: .notFound
        case .invalidField, .invalidBody: .unprocessableContent
        case .alreadyExists, .notPending, .pluginAssigned, .hasEnded: .conflict
        case .noAnswer: .gatewayTimeout
        case .agentStorageFull: HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage")
        case .busy: .serviceUnavailable
        case .foreignHost: .misdirectedRequest
        case .foreignSite: .forbidden
        case .unauthorized, .agentUnauthorized: .unauthorized
        case .tooManyAttempts: .tooManyRequests
        case .forgedRequest: .forbidden
        case .tooLarge: .contentTooLarge
        case .storageGone: .serviceUnavailable
        case .storage, .notInitialized, .alreadyInitialized, .folderInUse, .laterVersion, .backupExists, .backup, .seed,
            .listen:
            .internalServerError
        }
    }

    /// Whether it is a fault in here, and not one of the request.
    var isInternal: Bool {
        switch self {
        case .storage, .storageGone: true
        default: false
        }
    }
}
