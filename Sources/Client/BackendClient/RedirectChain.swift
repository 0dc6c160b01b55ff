import Foundation

/// Where a request goes next (RFC 9110, section 15.4).
///
/// Redirects are followed here and not by libcurl because its rules for credentials and for methods aren't ours.
struct RedirectChain {
    /// What to send now.
    private(set) var hop: HTTPRequest
    /// Of the original request: a redirect may give them back to a hop that gets none.
    let secrets: SentSecrets
    private let original: HTTPRequest
    private let limit: Int
    private let followsToInsecure: Bool
    private var count = 0

    init(_ request: HTTPRequest, _ configuration: HTTPClient.Configuration) {
        original = request
        hop = request
        secrets = request.sentSecrets
        limit = configuration.redirectLimit
        followsToInsecure = configuration.followsToInsecure
    }

    /// Moves on to where a response points. Returns false when the response is the answer.
    mutating func follow(_ response: HTTPResponse) throws(HTTPClientError) -> Bool {
        guard [301, 302, 303, 307, 308].contains(response.status), let location = response.header("Location") else {
            return false
        }
        count += 1
        guard count <= limit else { throw .redirectLoop(url: original.url.text, count: limit) }
        // From here on the address stands in errors and logs, and whoever it leads to would see it.
        let shown = secrets.hidden(in: location)
        guard shown == location else {
            throw .redirectRefused(from: hop.url.text, to: shown, problem: "it repeats a secret that was sent")
        }
        let target: HTTPURL
        do {
            target = try hop.url.resolving(location)
        } catch {
            throw .redirectRefused(from: hop.url.text, to: location, problem: "it is no http or https URL")
        }
        // Also without a token: what comes back is code that will run here, and results go out.
        guard followsToInsecure || !(hop.url.origin.scheme == "https" && target.origin.scheme == "http") else {
            throw .redirectRefused(
                from: hop.url.text, to: target.text,
                problem: "it leads from https to unprotected http; set server_url to the address meant, or "
                    + "allow_insecure = True if nobody can listen on the way")
        }
        guard !original.staysAtOrigin || target.origin == original.url.origin else {
            throw .redirectRefused(
                from: hop.url.text, to: target.text,
                problem:
                    "what is sent is a secret, for \(original.url.origin) alone; set server_url to the address meant")
        }
        guard !(original.keepsMethod && response.status == 303 && hop.method != .head) else {
            throw .redirectRefused(
                from: hop.url.text, to: target.text,
                problem: "303 asks for a GET, and what is sent would be lost; set server_url to the address meant")
        }
        hop.url = target
        applyMethod(of: response.status)
        // Compared with where the request began, hop by hop: a foreign host may lead back to the credentials' own
        // origin, and only there they are sent.
        hop.headers = original.headers.filter { header in
            (!header.isSecret || target.origin == original.url.origin)
                && (hop.body != nil || !Self.describesBody(header))
        }
        return true
    }

    /// 303 asks for a GET. After 301 and 302 a POST stays a POST with its body, which RFC 9110 permits: a result
    /// turned into a GET would be answered 200 and be lost.
    private mutating func applyMethod(of status: Int) {
        guard status == 303, hop.method != .head else { return }
        hop.method = .get
        hop.body = nil
    }

    private static func describesBody(_ header: HTTPHeader) -> Bool {
        header.name.lowercased().hasPrefix("content-")
    }
}
