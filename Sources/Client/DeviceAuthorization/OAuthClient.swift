import BackendClient
import Foundation

/// Where and as whom to log in.
public struct LoginSettings: Sendable, Equatable {
    /// As in the configuration. Tokens belong to its origin.
    public var serverURL: String
    /// Nil: ``defaultClientID``.
    public var clientID: String?
    /// Of the tokens, words separated by spaces (RFC 6749, section 3.3).
    public var scope: String
    /// Below ``serverURL``.
    public var deviceCodePath: String
    public var tokenPath: String
    public var revocationPath: String
    /// Whether plain http to another host is accepted.
    public var allowInsecure: Bool

    public static let defaultClientID = "runbook-agent"
    public static let defaultDeviceCodePath = "/oauth/device/code"
    public static let defaultTokenPath = "/oauth/token"
    public static let defaultRevocationPath = "/oauth/revoke"

    public init(
        serverURL: String, clientID: String? = nil, scope: String = "", deviceCodePath: String = defaultDeviceCodePath,
        tokenPath: String = defaultTokenPath, revocationPath: String = defaultRevocationPath,
        allowInsecure: Bool = false
    ) {
        self.serverURL = serverURL
        self.clientID = clientID
        self.scope = scope
        self.deviceCodePath = deviceCodePath
        self.tokenPath = tokenPath
        self.revocationPath = revocationPath
        self.allowInsecure = allowInsecure
    }
}

/// The requests of a login (RFC 8628, RFC 6749, RFC 7009). What they carry is secret: it goes to the backend's origin
/// and nowhere else, whatever redirects say.
struct OAuthClient: Sendable {
    let clientID: String
    let origin: HTTPURL.Origin
    private let scope: String
    private let deviceCodeURL: HTTPURL
    private let tokenURL: HTTPURL
    private let revocationURL: HTTPURL
    private let http: HTTPClient
    private let clock: any LoginClock

    /// Bytes of an answer at most.
    private static let responseLimit = 1 << 20
    private static let timeLimit = Duration.seconds(30)

    /// - Throws: `login.insecure_server`, `http.invalid_url`.
    init(_ settings: LoginSettings, http: HTTPClient, clock: any LoginClock) throws(LoginError) {
        func url(_ path: String) throws(LoginError) -> HTTPURL {
            do throws(HTTPClientError) {
                let base = settings.serverURL.trimmingCharacters(in: .whitespaces)
                return try HTTPURL(String(base.reversed().drop { $0 == "/" }.reversed()) + path)
            } catch {
                throw .transport(error)
            }
        }
        clientID = settings.clientID ?? LoginSettings.defaultClientID
        scope = settings.scope
        let server = try url("/")
        origin = server.origin
        guard origin.scheme == "https" || origin.isLoopback || settings.allowInsecure else {
            throw .insecureServer(url: settings.serverURL)
        }
        deviceCodeURL = try url(settings.deviceCodePath)
        tokenURL = try url(settings.tokenPath)
        revocationURL = try url(settings.revocationPath)
        for url in [deviceCodeURL, tokenURL, revocationURL] where url.origin != origin {
            throw .transport(.invalidURL(text: url.text, problem: "it leads away from the backend"))
        }
        self.http = http
        self.clock = clock
    }

    func requestCode() async -> OAuthAnswer<DeviceCode> {
        // Who approves the code sees it. A server that doesn't know the parameter ignores it (RFC 6749, section 3.1).
        await answer(of: deviceCodeURL, [("scope", scope)] + Self.hostName, secret: nil) { $0.deviceCode($1) }
    }

    /// This host's name (gethostname(2)), where it has one.
    private static let hostName: [(name: String, value: String)] = {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return [] }
        let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.isEmpty ? [] : [("host_name", text)]
    }()

    func redeem(_ code: DeviceCode) async -> OAuthAnswer<TokenSet> {
        // The scope again, because there are servers that read it only here.
        await answer(
            of: tokenURL,
            [
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code.deviceCode),
                ("scope", scope),
            ], secret: code.deviceCode
        ) { $0.tokens($1) }
    }

    func refresh(_ refreshToken: String) async -> OAuthAnswer<TokenSet> {
        await answer(
            of: tokenURL, [("grant_type", "refresh_token"), ("refresh_token", refreshToken)], secret: refreshToken
        ) { $0.tokens($1) }
    }

    /// Makes a token worthless (RFC 7009).
    func revoke(_ token: String, hint: String) async throws(LoginError) {
        let response: HTTPResponse
        do throws(HTTPClientError) {
            response = try await post(revocationURL, [("token", token), ("token_type_hint", hint)], secret: token)
        } catch {
            throw .transport(error)
        }
        guard !(200...299).contains(response.status) else { return }
        switch reader(revocationURL).tokens(response) {
        case .unavailable(let error, _), .unusable(let error): throw error
        case .error(let error, let description, _, let url):
            throw .refused(url: url, error: error, description: description)
        case .tooManyRequests(let url, _, _): throw .unavailable(url: url, status: 429)
        case .content: return
        }
    }

    private func answer<Content>(
        of url: HTTPURL, _ fields: [(name: String, value: String)], secret: String?,
        read: (OAuthReader, HTTPResponse) -> OAuthAnswer<Content>
    ) async -> OAuthAnswer<Content> {
        do throws(HTTPClientError) {
            let response = try await post(url, fields, secret: secret)
            return read(reader(url), response)
        } catch {
            return error.isFinal ? .unusable(.transport(error)) : .unavailable(.transport(error), retryAfter: nil)
        }
    }

    private func reader(_ url: HTTPURL) -> OAuthReader {
        OAuthReader(url: url.text, clientID: clientID, now: clock.wallTime)
    }

    private func post(
        _ url: HTTPURL, _ fields: [(name: String, value: String)], secret: String?
    ) async throws(HTTPClientError) -> HTTPResponse {
        try await http.send(
            HTTPRequest(
                method: .post, url: url,
                headers: [
                    HTTPHeader(name: "Content-Type", value: FormEncoding.contentType),
                    HTTPHeader(name: "Accept", value: "application/json"),
                ],
                body: FormEncoding.data([("client_id", clientID)] + fields), bodySecrets: secret.map { [$0] } ?? [],
                timeLimit: Self.timeLimit, responseLimit: Self.responseLimit, staysAtOrigin: true,
                // A refresh token that comes twice ends the login.
                usesNewConnection: true))
    }
}

extension HTTPClientError {
    /// Whether the same request would meet the same again.
    fileprivate var isFinal: Bool {
        switch self {
        case .invalidURL, .invalidHeader, .unreadableFile, .responseTooLarge, .redirectLoop, .redirectRefused: true
        default: false
        }
    }
}
