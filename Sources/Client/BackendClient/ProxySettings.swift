import Foundation

/// Which proxies to go through.
///
/// Read once and not by libcurl at every connection: `getenv` there would race with plugins that set environment
/// variables in the same process.
public struct ProxySettings: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    /// URL of the proxy for `http`; it may hold a password.
    var http: String?
    var https: String?
    /// Comma-separated host names that are reached directly; `*` for all.
    public var exceptions: String?

    /// - Parameters:
    ///   - http: URL of the proxy for `http` URLs.
    ///   - https: URL of the proxy for `https` URLs.
    ///   - exceptions: host names that are reached directly, as in `no_proxy`.
    public init(http: String? = nil, https: String? = nil, exceptions: String? = nil) {
        self.http = http
        self.https = https
        self.exceptions = exceptions
    }

    /// The proxy variables of an environment, by libcurl's rules (libcurl-env(3)): `http_proxy` counts in lower case
    /// only, as a CGI script's `HTTP_PROXY` is set by whoever sends a `Proxy:` header.
    public init(environment: [String: String]) {
        func first(_ names: String...) -> String? { names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty } }
        let all = first("all_proxy", "ALL_PROXY")
        http = first("http_proxy") ?? all
        https = first("https_proxy", "HTTPS_PROXY") ?? all
        exceptions = first("no_proxy", "NO_PROXY")
    }

    /// Those of this process.
    public static var ofEnvironment: ProxySettings {
        ProxySettings(environment: ProcessInfo.processInfo.environment)
    }

    public var description: String {
        "http \(http == nil ? "direct" : "through a proxy"), https \(https == nil ? "direct" : "through a proxy")"
    }

    public var customMirror: Mirror { Mirror(self, children: ["description": description]) }

    /// What of the proxies' URLs must be shown nowhere.
    var secrets: [String] { [http, https].compactMap { $0 }.flatMap { ProxyAddress.secrets(of: $0) } }

    /// The proxy for a URL. This host is always reached directly: seen from a proxy, loopback is another host.
    func proxy(for url: HTTPURL) -> String? {
        if url.origin.isLoopback { return nil }
        return url.origin.scheme == "https" ? https : http
    }
}
