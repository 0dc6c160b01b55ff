import AgentModel
public import Diagnostics

/// Why there is no answer. None of the cases holds a header's value.
public enum HTTPClientError: CodedError, Equatable {
    case invalidURL(text: String, problem: String)
    case invalidHeader(name: String, problem: String)
    /// A file that the configuration names (`ca_file`, `client_certificate`, `client_key`) can't be read.
    case unreadableFile(setting: String, path: String, problem: String)
    case nameNotResolved(host: String, problem: String)
    case unreachable(host: String, port: Int, problem: String)
    case tls(origin: String, problem: String, advice: String)
    case timeout(url: String, phase: String)
    /// The connection went away before the answer was complete.
    case connectionLost(url: String, received: Int, problem: String)
    case responseTooLarge(url: String, limit: Int)
    /// What came isn't HTTP, or its compression is broken.
    case invalidResponse(url: String, problem: String)
    case redirectLoop(url: String, count: Int)
    /// A redirect that is not followed: to another scheme than http(s), or from https down to http.
    case redirectRefused(from: String, to: String, problem: String)
    /// A proxy's URL that can't be used. `variable` is where it comes from.
    case proxyInvalid(variable: String, problem: String)
    case proxyNotResolved(proxy: String, problem: String)
    case proxyUnreachable(proxy: String, problem: String)
    /// A proxy that opens no tunnel to the host, with the status of its answer (RFC 9110, section 9.3.6).
    case proxyRefused(proxy: String, origin: String, status: Int)
    /// A proxy that wants to know who asks. `at` is its address, or the URL where something answered in its place.
    case proxyUnauthorized(at: String, status: Int, scheme: String)
    case cancelled(url: String)
    /// The client was shut down.
    case shutDown(url: String)
    /// Anything else that libcurl reports.
    case failed(url: String, problem: String)

    public var code: String {
        switch self {
        case .invalidURL: "http.invalid_url"
        case .invalidHeader: "http.invalid_header"
        case .unreadableFile: "http.unreadable_file"
        case .nameNotResolved: "http.name_not_resolved"
        case .unreachable: "http.unreachable"
        case .tls: "http.tls"
        case .timeout: "http.timeout"
        case .connectionLost: "http.connection_lost"
        case .responseTooLarge: "http.response_too_large"
        case .invalidResponse: "http.invalid_response"
        case .redirectLoop: "http.redirect_loop"
        case .redirectRefused: "http.redirect_refused"
        case .proxyInvalid: "http.proxy_invalid"
        case .proxyNotResolved: "http.proxy_not_resolved"
        case .proxyUnreachable: "http.proxy_unreachable"
        case .proxyRefused: "http.proxy_refused"
        case .proxyUnauthorized: "http.proxy_unauthorized"
        case .cancelled: "http.cancelled"
        case .shutDown: "http.shut_down"
        case .failed: "http.failed"
        }
    }

    public var message: String { HiddenSecrets.hidden(in: sentence) }

    private var sentence: String {
        switch self {
        case .invalidURL(let text, let problem):
            "the URL \(quoted(text)) is refused: \(problem); write it as https://HOST[:PORT][/PATH]"
        case .invalidHeader(let name, let problem):
            "the header field \(quoted(name)) is refused: \(problem)"
        case .unreadableFile(let setting, let path, let problem):
            "the file \(quoted(path)) of the setting \(quoted(setting)) can't be read: \(problem); correct the path or "
                + "its permissions"
        case .nameNotResolved(let host, let problem):
            "the name \(quoted(host)) has no address: \(problem); check its spelling and this host's DNS"
        case .unreachable(let host, let port, let problem):
            "\(quoted(host)) can't be reached at port \(port): \(problem); check that it runs, the address, and any "
                + "firewall or proxy in between"
        case .tls(let origin, let problem, let advice):
            "no trusted connection to \(quoted(origin)): \(problem); \(advice)"
        case .timeout(let url, let phase):
            "\(quoted(url)) took too long: \(phase); it will be tried again later"
        case .connectionLost(let url, let received, let problem):
            "the connection for \(quoted(url)) ended after \(received) bytes of the response: \(problem); if it happens "
                + "again, check the server's log and any proxies in between"
        case .responseTooLarge(let url, let limit):
            "the response from \(quoted(url)) exceeds the limit of \(limit) bytes and was discarded"
        case .invalidResponse(let url, let problem):
            "\(quoted(url)) did not answer with valid HTTP: \(problem); check the host and port"
        case .redirectLoop(let url, let count):
            "\(quoted(url)) was still redirected after \(count) redirects; correct the server's redirects"
        case .redirectRefused(let from, let to, let problem):
            "the redirect from \(quoted(from)) to \(quoted(to)) is not followed: \(problem)"
        case .proxyInvalid(let variable, let problem):
            "the proxy that \(variable) names is refused: \(problem); write it as http://HOST:PORT, with USER:PASSWORD@ in "
                + "front of the host where it wants a login, and restart the agent"
        case .proxyNotResolved(let proxy, let problem):
            "the proxy \(quoted(proxy)) has no address: \(problem); check http_proxy, https_proxy and all_proxy in the "
                + "agent's environment, and this host's DNS"
        case .proxyUnreachable(let proxy, let problem):
            "the proxy \(quoted(proxy)) can't be reached: \(problem); check that it runs, and http_proxy, https_proxy and "
                + "all_proxy in the agent's environment"
        case .proxyRefused(let proxy, let origin, let status):
            "the proxy \(quoted(proxy)) opens no connection to \(quoted(origin)) (status \(status)); have it allow the "
                + "host and port, or name the host in no_proxy"
        case .proxyUnauthorized(let place, let status, let scheme):
            "a proxy asks for a login of its own at \(quoted(place)) (status \(status), \(quoted(scheme, limit: 40))); put "
                + "USER:PASSWORD@ in front of the host in http_proxy or https_proxy, or have it let this host through"
        case .cancelled(let url): "the request to \(quoted(url)) was cancelled"
        case .shutDown(let url): "the request to \(quoted(url)) was abandoned because the client is shutting down"
        case .failed(let url, let problem): "the request to \(quoted(url)) failed: \(problem)"
        }
    }
}
