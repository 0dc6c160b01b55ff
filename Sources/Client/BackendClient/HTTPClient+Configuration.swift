import Foundation

extension HTTPClient {
    /// Limits and trust of a client. Every value can be overridden; the defaults suit an agent.
    public struct Configuration: Sendable {
        /// Name resolution, connection and TLS handshake together.
        public var connectLimit: Duration = .seconds(10)
        /// A whole request with its redirects.
        public var timeLimit: Duration = .seconds(300)
        /// A transfer under 32 bytes a second for this long is given up.
        public var idleLimit: Duration = .seconds(60)
        /// Bytes of a response body after decompression.
        public var responseLimit = 64 << 20
        /// How many transfers are under way at the same time; others wait their turn.
        public var concurrency = 256
        /// How many redirects one request may follow.
        public var redirectLimit = 10
        /// Whether redirects from https to http are followed. A secret header stays at its origin all the same.
        public var followsToInsecure = false
        /// A PEM bundle that is trusted *instead of* the system's CAs.
        public var caFile: String?
        /// A PEM file with the client's certificate; it may hold the key too.
        public var clientCertificate: String?
        /// A PEM file with the client's private key, unencrypted.
        public var clientKey: String?
        public var proxies: ProxySettings
        public var userAgent = "runbook-agent"

        public init(proxies: ProxySettings = .ofEnvironment) { self.proxies = proxies }

        /// Looks now at what would otherwise fail at every request, in libcurl's words.
        func validate() throws(HTTPClientError) {
            let files = [
                ("ca_file", caFile), ("client_certificate", clientCertificate), ("client_key", clientKey),
            ]
            for case (let setting, let path?) in files where access(path, R_OK) != 0 {
                throw .unreadableFile(setting: setting, path: path, problem: String(cString: strerror(errno)))
            }
        }
    }
}
