import AgentModel
import CCurl

/// An absolute `http` or `https` URL without user information and fragment.
///
/// libcurl's own parser reads it (libcurl-url(3)), so that what is checked here and what is connected to can't differ.
public struct HTTPURL: Hashable, Sendable, CustomStringConvertible {
    /// Whom credentials belong to (RFC 6454).
    public struct Origin: Hashable, Sendable, CustomStringConvertible {
        /// `http` or `https`.
        public let scheme: String
        /// In lower case; an IPv6 address has its brackets.
        public let host: String
        /// The scheme's default where the URL names none.
        public let port: Int

        public var description: String { "\(scheme)://\(host):\(port)" }

        /// Whether it is this host itself (RFC 6761, section 6.3; RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3).
        public var isLoopback: Bool {
            if host == "localhost" || host == "localhost." || host == "[::1]" { return true }
            let parts = host.split(separator: ".", omittingEmptySubsequences: false)
            return parts.count == 4 && parts.first == "127" && parts.allSatisfy { UInt8($0) != nil }
        }
    }

    /// The whole URL as it goes on the wire.
    public let text: String
    public let origin: Origin
    /// Begins with a slash; without the query.
    public let path: String
    public let hasQuery: Bool

    /// Reads an absolute URL. Spaces and bytes beyond ASCII are percent-encoded.
    /// - Throws: `HTTPClientError.invalidURL`.
    public init(_ text: String) throws(HTTPClientError) {
        try self.init(reference: text, base: nil)
    }

    /// The URL that a reference means when it is met at this URL (RFC 3986, section 5), such as a `Location`.
    /// - Throws: `HTTPClientError.invalidURL`.
    public func resolving(_ reference: String) throws(HTTPClientError) -> HTTPURL {
        try HTTPURL(reference: reference, base: text)
    }

    public var description: String { text }

    private init(reference: String, base: String?) throws(HTTPClientError) {
        guard let handle = curl_url() else { throw .invalidURL(text: reference, problem: "out of memory") }
        defer { curl_url_cleanup(handle) }
        // A NUL would end the C string, and what follows it would be checked by nobody.
        guard !reference.isEmpty, !reference.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw .invalidURL(text: reference, problem: "it is empty or has a control character")
        }
        let flags = UInt32(CURLU_URLENCODE) | UInt32(CURLU_DISALLOW_USER)
        for text in [base, reference].compactMap({ $0 }) {
            let status = curl_url_set(handle, CURLUPART_URL, text, flags)
            guard status == CURLUE_OK else {
                throw .invalidURL(text: reference, problem: Self.problem(of: status))
            }
        }
        curl_url_set(handle, CURLUPART_FRAGMENT, nil, 0)
        guard let scheme = Self.part(CURLUPART_SCHEME, of: handle), scheme == "http" || scheme == "https" else {
            throw .invalidURL(text: reference, problem: "only http and https are spoken")
        }
        guard let host = Self.part(CURLUPART_HOST, of: handle), !host.isEmpty,
            let port = Self.part(CURLUPART_PORT, of: handle, flags: UInt32(CURLU_DEFAULT_PORT)).flatMap({ Int($0) }),
            let text = Self.part(CURLUPART_URL, of: handle)
        else { throw .invalidURL(text: reference, problem: "it names no host") }
        guard port != 0 else { throw .invalidURL(text: reference, problem: "its port is no number from 1 to 65535") }
        self.text = text
        origin = Origin(scheme: scheme, host: host.lowercased(), port: port)
        path = Self.part(CURLUPART_PATH, of: handle) ?? "/"
        hasQuery = Self.part(CURLUPART_QUERY, of: handle) != nil
    }

    private static func part(_ part: CURLUPart, of handle: OpaquePointer, flags: UInt32 = 0) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(handle, part, &text, flags) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }

    private static func problem(of status: CURLUcode) -> String {
        switch status {
        case CURLUE_USER_NOT_ALLOWED: "a user name or password must not stand in it"
        case CURLUE_BAD_SCHEME, CURLUE_UNSUPPORTED_SCHEME: "it doesn't begin with http:// or https://"
        case CURLUE_BAD_PORT_NUMBER: "its port is no number from 1 to 65535"
        default: String(cString: curl_url_strerror(status))
        }
    }
}
