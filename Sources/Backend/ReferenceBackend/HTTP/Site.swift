import Foundation
import Hummingbird

/// Where the backend's pages are, as browsers and agents see it.
struct Site: Sendable {
    /// Nil: whatever a request names as its host.
    let publicOrigin: WebOrigin?
    let listen: ListenAddress

    func origin(of request: Request) -> WebOrigin? {
        publicOrigin ?? request.head.authority.flatMap { WebOrigin(isSecure: false, authority: $0) }
    }

    /// The address of the page for codes.
    func devicePage(for request: Request) -> String {
        (origin(of: request).map(String.init(describing:)) ?? listen.url) + DevicePageRoutes.path
    }

    /// Whether a form came from a page of this site, as far as the browser says
    /// (Fetch Metadata Request Headers, section 2.1; RFC 6454, section 7).
    func isOwnPage(_ request: Request) -> Bool {
        let site = Self.fetchSiteName.flatMap { request.headers[$0] }
        if let site, site != "same-origin" { return false }
        // A page with `Referrer-Policy: no-referrer` has its own forms sent with `null` as their origin. So does a
        // foreign page that hides where it is; then the session's token in the form is what tells them apart.
        guard let origin = request.headers[.origin], origin != "null" else { return true }
        guard let own = self.origin(of: request) else { return false }
        return origin == own.description
    }

    /// Whether a request's `Host` is surely this backend's: an address, this machine's own name, or one that it was
    /// told. Names that lead here can be made by anybody.
    func isOwnHost(_ authority: String) -> Bool {
        guard let host = Self.host(of: authority) else { return false }
        if AddressRange.isAddress(host) || host == "localhost" || host.hasSuffix(".localhost") { return true }
        let machine = ProcessInfo.processInfo.hostName.lowercased()
        let short = machine.prefix { $0 != "." }
        let known = [
            listen.host.lowercased(), machine, String(short), publicOrigin.flatMap { Self.host(of: $0.authority) },
        ]
        return known.contains(host)
    }

    /// The host of `HOST:PORT`, in lower case and without brackets.
    private static func host(of authority: String) -> String? {
        guard let authority = WebOrigin(isSecure: false, authority: authority)?.authority else { return nil }
        if authority.hasPrefix("["), let end = authority.lastIndex(of: "]") {
            return String(authority[authority.index(after: authority.startIndex)..<end])
        }
        return String(authority.prefix { $0 != ":" })
    }

    static let fetchSiteName = HTTPFields.Element.Name("Sec-Fetch-Site")
}
