import Foundation
import Hummingbird

/// Lets through who shows the administration token (RFC 6750, section 2.1).
struct AdministrationTokenMiddleware: RouterMiddleware {
    let service: BackendService

    func handle(
        _ request: Request, context: BackendRequestContext,
        next: (Request, BackendRequestContext) async throws -> Response
    ) async throws -> Response {
        guard let token = Self.token(in: request), try await service.isAdministrationToken(token) else {
            throw ReferenceBackendError.unauthorized
        }
        return try await next(request, context)
    }

    private static func token(in request: Request) -> String? {
        guard let value = request.headers[.authorization] else { return nil }
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return parts[1].trimmingCharacters(in: .whitespaces)
    }
}
