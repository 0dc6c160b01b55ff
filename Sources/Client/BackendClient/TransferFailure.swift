import AgentModel
import CCurl
import Diagnostics
import Foundation

/// What libcurl says about a transfer that failed, and the error that it amounts to (libcurl-errors(3)).
struct TransferFailure {
    let result: CURLcode
    let url: HTTPURL
    /// libcurl's error buffer; empty where it wrote nothing.
    let detail: String
    /// errno of the last system call that failed, or 0.
    let systemError: Int32
    /// Bytes of the body.
    let received: Int
    let responseLimit: Int
    /// Whether the request was on its way.
    let isConnected: Bool
    /// The URL of the proxy, unless an exception holds.
    let proxy: String?
    /// What the proxy answered where a tunnel was asked for, or 0.
    let connectStatus: Int

    var error: HTTPClientError {
        if let proxyError { return proxyError }
        return switch result {
        case CURLE_COULDNT_RESOLVE_HOST:
            .nameNotResolved(host: url.origin.host, problem: text)
        case CURLE_COULDNT_CONNECT, CURLE_INTERFACE_FAILED:
            .unreachable(host: url.origin.host, port: url.origin.port, problem: reason)
        case CURLE_OPERATION_TIMEDOUT: .timeout(url: url.text, phase: phase)
        case CURLE_FILESIZE_EXCEEDED: .responseTooLarge(url: url.text, limit: responseLimit)
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING:
            .invalidResponse(url: url.text, problem: text)
        // Our own callbacks give a reason where they end a transfer. Without one it is a decoder of libcurl's, which has
        // no other word for broken compression.
        case CURLE_WRITE_ERROR:
            .invalidResponse(url: url.text, problem: "its body can't be decompressed as its Content-Encoding says")
        case CURLE_PARTIAL_FILE, CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_HTTP2,
            CURLE_HTTP2_STREAM:
            lost
        case _ where Self.tlsResults.contains(result.rawValue):
            .tls(origin: url.origin.description, problem: text, advice: tlsAdvice)
        default: .failed(url: url.text, problem: text)
        }
    }

    /// What is the proxy's and not the backend's.
    private var proxyError: HTTPClientError? {
        let isSSL = url.origin.scheme == "https"
        guard let proxy else { return nil }
        let address = ProxyAddress(proxy)
        if result == CURLE_COULDNT_RESOLVE_PROXY || detail.hasPrefix("Unsupported proxy") {
            guard let address, !detail.hasPrefix("Unsupported proxy") else {
                let problem = address == nil ? "it is no URL with a host and a port" : "its scheme is not supported"
                return .proxyInvalid(
                    variable: isSSL ? "https_proxy or all_proxy" : "http_proxy or all_proxy", problem: problem)
            }
            return .proxyNotResolved(proxy: address.description, problem: text)
        }
        guard let address else { return nil }
        if connectStatus == 407 {
            return .proxyUnauthorized(at: address.description, status: connectStatus, scheme: "CONNECT")
        }
        if connectStatus != 0, !(200...299).contains(connectStatus) {
            return .proxyRefused(proxy: address.description, origin: url.origin.description, status: connectStatus)
        }
        let isOfProxy =
            result == CURLE_PROXY || detail.contains("Proxy CONNECT aborted")
            || result == CURLE_COULDNT_CONNECT && detail.contains("connect to \(address.host) port \(address.port)")
        return isOfProxy ? .proxyUnreachable(proxy: address.description, problem: reason) : nil
    }

    private static let tlsResults: Set<UInt32> = Set(
        [
            CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_ENGINE_NOTFOUND, CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_ENGINE_INITFAILED,
            CURLE_SSL_SHUTDOWN_FAILED, CURLE_SSL_CRL_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_PINNEDPUBKEYNOTMATCH,
            CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT,
        ].map(\.rawValue))

    private var text: String {
        HiddenSecrets.hidden(in: detail.isEmpty ? String(cString: curl_easy_strerror(result)) : detail)
    }

    private var reason: String {
        guard systemError != 0 else { return text }
        return "\(String(cString: strerror(systemError))) (\(text))"
    }

    private var phase: String {
        if detail.contains("too slow") { return "almost nothing arrived for too long" }
        if !isConnected { return "no connection was made in time (\(text))" }
        return "the answer was not complete in time, \(received) bytes had come"
    }

    /// With TLS 1.3 a server refuses a client's certificate only after the handshake, as an alert.
    private var lost: HTTPClientError {
        if detail.contains("alert") && detail.contains("SSL") {
            return .tls(origin: url.origin.description, problem: text, advice: tlsAdvice)
        }
        return .connectionLost(url: url.text, received: received, problem: text)
    }

    private var tlsAdvice: String {
        let lowercased = text.lowercased()
        if result == CURLE_SSL_CACERT_BADFILE { return "ca_file must be a PEM file with at least one certificate" }
        if lowercased.contains("protocol version") || lowercased.contains("unsupported protocol") {
            return "the server speaks only a version of TLS before 1.2; have it speak TLS 1.2 or later"
        }
        if ["key too small", "key too weak", "md too weak"].contains(where: lowercased.contains) {
            return
                "the server's certificate, or one that it is signed by, has a key or a digest that is too weak; have "
                + "it renewed with RSA of 2048 bits or more, or with an elliptic curve, and SHA-256"
        }
        if result == CURLE_SSL_CERTPROBLEM || lowercased.contains("alert") {
            return "check that client_certificate and client_key are PEM files that belong together and that the "
                + "server accepts"
        }
        if lowercased.contains("subject name") || lowercased.contains("hostname") {
            return "the certificate is for another name; set server_url to a name that it is for"
        }
        if lowercased.contains("expired") || lowercased.contains("not yet valid") {
            return "renew the certificate, and check the clocks of both hosts"
        }
        if lowercased.contains("wrong version number") {
            return "the port seems not to speak TLS; check http or https in server_url"
        }
        return "set ca_file to the certificate of the CA that signed the server's"
    }
}
