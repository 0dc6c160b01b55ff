public import Foundation

/// A whole answer, whatever its status.
public struct HTTPResponse: Sendable {
    public let status: Int
    /// In the order they came, names as they were written. Interim answers and trailers are left out.
    public let headers: [(name: String, value: String)]
    /// After decompression.
    public let body: Data
    /// Where it came from, after redirects.
    public let url: HTTPURL
    /// Whether it came over a connection that an earlier request had opened.
    public let reusedConnection: Bool
    /// Of the request.
    var sentSecrets = SentSecrets()

    /// A text of this answer, fit for logs and errors: without the secrets that were sent, should it repeat them.
    public func hidingSecrets(_ text: String) -> String { sentSecrets.hidden(in: text) }

    /// The scheme of a `401` that can't come from a backend: one that asks for a password (RFC 9110, section 11.6.1),
    /// as a proxy or a gateway does, and for no token. Nil for any other answer.
    var foreignChallenge: String? {
        guard status == 401 else { return nil }
        let schemes = headers.filter { HeaderLine.isSame($0.name, "www-authenticate") }
            .map { String($0.value.prefix { $0 != " " && $0 != "," }).lowercased() }
        guard !schemes.isEmpty, schemes.allSatisfy({ ["basic", "digest", "negotiate", "ntlm"].contains($0) }) else {
            return nil
        }
        return schemes[0]
    }

    /// The value of the first header field with this name, in any case.
    public func header(_ name: String) -> String? {
        headers.first { HeaderLine.isSame($0.name, name) }?.value
    }
}
