import AgentModel
import Diagnostics
import Foundation
import Hummingbird

/// Keeps pages of other sites from being agents through a browser on this machine or network, where an agent is known by
/// its address alone.
///
/// No agent is asked for anything new: they send neither `Origin` nor `Sec-Fetch-Site`, JSON as what it is, and the host
/// that their `server_url` names.
struct ForeignSiteMiddleware: RouterMiddleware {
    let site: Site

    func handle(
        _ request: Request, context: BackendRequestContext,
        next: (Request, BackendRequestContext) async throws -> Response
    ) async throws -> Response {
        try check(request)
        return try await next(request, context)
    }

    private func check(_ request: Request) throws(ReferenceBackendError) {
        // A page can have its own name lead to this machine (DNS rebinding), and is then its own site for the browser.
        if let authority = request.head.authority, !site.isOwnHost(authority) { throw .foreignHost(authority) }
        if let origin = request.headers[.origin], origin != site.origin(of: request)?.description {
            throw .foreignSite(problem: "its \"Origin\" is \(quoted(origin, limit: 200))")
        }
        let fetchSite = Site.fetchSiteName.flatMap { request.headers[$0] }
        if let fetchSite, fetchSite != "same-origin", fetchSite != "none" {
            throw .foreignSite(problem: "its \"Sec-Fetch-Site\" is \(quoted(fetchSite, limit: 200))")
        }
        guard request.method == .post else { return }
        // What a form can send without being asked (Fetch, section 2.2.2).
        let type = request.headers[.contentType]?.split(separator: ";").first?.trimmingCharacters(in: .whitespaces)
        if let type, Self.formTypes.contains(type.lowercased()) {
            throw .foreignSite(problem: "its \"Content-Type\" is \(quoted(type)); send application/json")
        }
    }

    private static let formTypes = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
}
