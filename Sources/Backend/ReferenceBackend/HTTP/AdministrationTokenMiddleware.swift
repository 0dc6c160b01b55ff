import Hummingbird

/// Lets through who shows the administration token (RFC 6750, section 2.1).
struct AdministrationTokenMiddleware: RouterMiddleware {
    let service: BackendService

    func handle(
        _ request: Request, context: BackendRequestContext,
        next: (Request, BackendRequestContext) async throws -> Response
    ) async throws -> Response {
        guard let token = request.bearerToken, try await service.isAdministrationToken(token) else {
            throw ReferenceBackendError.unauthorized
        }
        return try await next(request, context)
    }
}
