import AgentModel
import BackendClient
import Diagnostics
import Foundation

/// What an endpoint said, as far as a client must tell it apart.
enum OAuthAnswer<Content: Sendable & Equatable>: Sendable, Equatable {
    case content(Content)
    /// An error document (RFC 6749, section 5.2; RFC 8628, section 3.5). `interval` is in seconds.
    case error(String, description: String?, interval: Int?, url: String)
    /// `429`, whatever is in it. `interval` is in seconds.
    case tooManyRequests(url: String, retryAfter: Duration?, interval: Int?)
    /// Nobody there, or nobody who can answer now.
    case unavailable(LoginError, retryAfter: Duration?)
    /// Asking again would not help.
    case unusable(LoginError)
}

/// Reads answers of an authorization server; pure.
struct OAuthReader {
    let url: String
    let clientID: String
    let now: Date

    func tokens(_ response: HTTPResponse) -> OAuthAnswer<TokenSet> {
        read(Document(response, now: now), content: tokens(of:))
    }

    /// Of a file instead of an answer.
    func tokens(document: Data) -> OAuthAnswer<TokenSet> { read(Document(body: document), content: tokens(of:)) }

    func deviceCode(_ response: HTTPResponse) -> OAuthAnswer<DeviceCode> {
        read(Document(response, now: now)) { fields throws(Missing) in
            DeviceCode(
                deviceCode: try secret("device_code", fields), userCode: try text("user_code", fields, limit: 64),
                verificationURI: try address("verification_uri", fields),
                verificationURIComplete: try? address("verification_uri_complete", fields),
                lifetime: Self.seconds(fields["expires_in"], 1...DeviceCode.longestLifetime)
                    ?? DeviceCode.defaultLifetime,
                interval: Self.seconds(fields["interval"], 1...DeviceCode.longestInterval)
                    ?? DeviceCode.defaultInterval,
                issuedAt: now, clientID: clientID)
        }
    }

    // MARK: Steps

    private func tokens(of fields: [String: JSONValue]) throws(Missing) -> TokenSet {
        if case .string(let type)? = fields["token_type"], type.lowercased() != "bearer" {
            throw Missing(problem: "its token_type is \(quoted(type, limit: 40)) and not Bearer")
        }
        return TokenSet(
            accessToken: try token("access_token", fields),
            refreshToken: Self.isAbsent(fields["refresh_token"]) ? nil : try token("refresh_token", fields),
            lifetime: Self.seconds(fields["expires_in"], 1...TokenSet.longestLifetime), obtainedAt: now)
    }

    /// What of an answer counts.
    private struct Document {
        var status = 200
        var body: Data
        /// Without the secrets that were sent, as all that is shown.
        var contentType: String?
        var retryAfter: Duration?
        /// What is shown of a text of the answer.
        var shown: (String) -> String = { $0 }

        init(_ response: HTTPResponse, now: Date) {
            status = response.status
            body = response.body
            contentType = response.header("Content-Type").map(response.hidingSecrets)
            shown = response.hidingSecrets
            retryAfter = response.retryAfter(now: now)
        }

        init(body: Data) { self.body = body }
    }

    /// What is wrong with a document.
    private struct Missing: Error {
        var problem: String
        var isToken = false
    }

    /// Of RFC 6749, sections 5.1 and 5.2, and RFC 8628, sections 3.2 and 3.5. All are scalars.
    private static let known = JSONSelection.object(
        Dictionary(
            uniqueKeysWithValues: [
                "access_token", "token_type", "expires_in", "refresh_token", "device_code", "user_code",
                "verification_uri", "verification_uri_complete", "interval", "error", "error_description",
            ].map { ($0, .scalar) }))

    private func read<Content>(
        _ response: Document, content: ([String: JSONValue]) throws(Missing) -> Content
    ) -> OAuthAnswer<Content> {
        let status = response.status
        let fields = try? Self.known.select(from: response.body).decode([String: JSONValue].self)
        let interval = Self.seconds(fields?["interval"], 1...DeviceCode.longestInterval)
        if status == 429 {
            return .tooManyRequests(url: url, retryAfter: response.retryAfter, interval: interval)
        }
        // Also with 200, which some servers answer errors with.
        if case .string(let error)? = fields?["error"], !error.isEmpty, status < 500 {
            var description: String?
            if case .string(let text)? = fields?["error_description"], !text.isEmpty {
                description = response.shown(text)
            }
            // A word of the protocol is no secret, also where the secret that was sent is a part of it.
            let shown = Self.knownErrors.contains(error) ? error : response.shown(error)
            // Some servers say these with 400 (RFC 6749, section 4.1.2.1, knows them of another endpoint).
            if ["temporarily_unavailable", "server_error"].contains(error) {
                return .unavailable(
                    .refused(url: url, error: shown, description: description), retryAfter: response.retryAfter)
            }
            return .error(shown, description: description, interval: interval, url: url)
        }
        if status >= 500 || status == 408 {
            return .unavailable(.unavailable(url: url, status: status), retryAfter: response.retryAfter)
        }
        if [404, 405, 410, 501].contains(status) { return .unusable(.noEndpoint(url: url, status: status)) }
        guard (200...299).contains(status) else { return unusable(response, "there is no error code in it") }
        guard let fields else { return unusable(response, "it is no JSON object") }
        do throws(Missing) {
            return .content(try content(fields))
        } catch {
            let problem = response.shown(error.problem)
            return error.isToken ? .unusable(.invalidToken(problem: problem)) : unusable(response, problem)
        }
    }

    /// RFC 6749, sections 4.1.2.1 and 5.2; RFC 7009, section 2.2.1; RFC 8628, section 3.5.
    private static let knownErrors: Set<String> = [
        "authorization_pending", "slow_down", "access_denied", "expired_token", "invalid_request", "invalid_client",
        "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "unsupported_token_type",
        "unsupported_response_type", "temporarily_unavailable", "server_error",
    ]

    private func unusable<Content>(_ response: Document, _ problem: String) -> OAuthAnswer<Content> {
        // Nothing of the body is shown: it may hold a token.
        let type = response.contentType.map { ", its type is \(quoted($0, limit: 60))" } ?? ""
        return .unusable(.invalidAnswer(url: url, status: response.status, problem: problem + type))
    }

    private func text(_ name: String, _ fields: [String: JSONValue], limit: Int) throws(Missing) -> String {
        guard case .string(let text)? = fields[name], !text.isEmpty else {
            throw Missing(problem: "it has no \(quoted(name))")
        }
        // It goes to terminals and logs.
        guard text.unicodeScalars.count <= limit, text.unicodeScalars.allSatisfy(Self.isPrintable) else {
            throw Missing(problem: "its \(quoted(name)) is too long or can't be printed")
        }
        return text
    }

    private func secret(_ name: String, _ fields: [String: JSONValue]) throws(Missing) -> String {
        guard case .string(let text)? = fields[name], !text.isEmpty else {
            throw Missing(problem: "it has no \(quoted(name))")
        }
        guard text.utf8.count <= TokenSet.byteLimit else {
            throw Missing(
                problem: "its \(quoted(name)) has \(text.utf8.count) bytes, over the limit of \(TokenSet.byteLimit)")
        }
        return text
    }

    private func token(_ name: String, _ fields: [String: JSONValue]) throws(Missing) -> String {
        guard case .string(let text)? = fields[name] else { throw Missing(problem: "it has no \(quoted(name))") }
        if let problem = TokenSet.problem(with: text) {
            throw Missing(problem: "the backend's \(name): \(problem)", isToken: true)
        }
        return text
    }

    private func address(_ name: String, _ fields: [String: JSONValue]) throws(Missing) -> String {
        let text = try text(name, fields, limit: 1000)
        guard let url = try? HTTPURL(text) else { throw Missing(problem: "its \(quoted(name)) is no address") }
        return url.text
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
        default: true
        }
    }

    private static func isAbsent(_ value: JSONValue?) -> Bool { value == nil || value == .null || value == "" }

    /// Whole seconds, also where they come as text or with a fraction. Nil for what isn't there, no number or below the
    /// range; what is above it is cut.
    private static func seconds(_ value: JSONValue?, _ range: ClosedRange<Int>) -> Int? {
        let number: Double? =
            switch value {
            case .integer(let number)?: Double(number)
            case .unsigned(let number)?: Double(number)
            case .number(let number)?: number
            case .string(let text)?: Double(text)
            default: nil
            }
        guard let number, number >= Double(range.lowerBound) else { return nil }
        return Int(min(number, Double(range.upperBound)))
    }
}
