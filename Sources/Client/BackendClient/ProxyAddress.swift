import CCurl
import Foundation

/// A proxy as its URL has it, without its user name and password.
struct ProxyAddress {
    let host: String
    let port: Int

    var description: String { "\(host):\(port)" }

    /// Libcurl's default for proxies (CURLOPT_PROXY(3)).
    private static let defaultPort = 1080

    /// Nil for what libcurl takes for no address.
    init?(_ text: String) {
        guard let handle = curl_url() else { return nil }
        defer { curl_url_cleanup(handle) }
        // As libcurl reads CURLOPT_PROXY itself.
        let flags = UInt32(CURLU_NON_SUPPORT_SCHEME) | UInt32(CURLU_GUESS_SCHEME)
        guard curl_url_set(handle, CURLUPART_URL, text, flags) == CURLUE_OK,
            let host = Self.part(CURLUPART_HOST, of: handle)
        else { return nil }
        self.host = host
        let scheme = Self.part(CURLUPART_SCHEME, of: handle)
        port = Self.part(CURLUPART_PORT, of: handle).flatMap { Int($0) } ?? (scheme == "https" ? 443 : Self.defaultPort)
    }

    /// The user information of a URL, also of a malformed one, and its parts, as they are and decoded.
    static func secrets(of text: String) -> [String] {
        guard let at = text.lastIndex(of: "@") else { return [] }
        let start = text.range(of: "://")?.upperBound ?? text.startIndex
        guard start < at else { return [] }
        let userInfo = String(text[start..<at])
        let password = userInfo.firstIndex(of: ":").map { String(userInfo[userInfo.index(after: $0)...]) }
        let secrets = [userInfo, password].compactMap { $0 }
        return secrets + secrets.compactMap(\.removingPercentEncoding)
    }

    private static func part(_ part: CURLUPart, of handle: OpaquePointer) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(handle, part, &text, 0) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }
}
