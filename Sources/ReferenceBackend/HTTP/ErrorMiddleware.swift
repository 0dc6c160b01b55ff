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
                ErrorBody(code: "backend.internal", message: "the backend failed; its log says why", field: nil),
                status: .internalServerError)
        }
    }

    private func response(to error: ReferenceBackendError) throws -> Response {
        var response = try response(
            ErrorBody(code: error.code, message: error.message, field: error.field), status: error.status)
        if error == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
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
    fileprivate var status: HTTPResponse.Status {
        switch self {
        case .notFound: .notFound
        case .invalidField, .invalidBody: .unprocessableContent
        case .alreadyExists: .conflict
        case .unauthorized: .unauthorized
        case .tooLarge: .contentTooLarge
        case .storage, .seed, .listen: .internalServerError
        }
    }
}
