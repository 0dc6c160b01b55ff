import AgentModel
import Diagnostics
public import Foundation

extension TokenSet {
    /// Reads tokens that somebody else has obtained: a token response (RFC 6749, section 5.1) as JSON, or a bare access
    /// token.
    ///
    /// - Throws: `login.token_file`, `login.invalid_token`.
    public static func parse(_ data: Data, from source: String, now: Date) throws(LoginError) -> TokenSet {
        guard data.count <= 1 << 20 else {
            throw .tokenFile(path: source, problem: "it is over 1 MiB; give a token or a token response")
        }
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        guard !text.isEmpty else { throw .tokenFile(path: source, problem: "it is empty") }
        guard text.hasPrefix("{") else {
            if let problem = problem(with: text) { throw .invalidToken(problem: problem) }
            return TokenSet(accessToken: text, refreshToken: nil, lifetime: nil, obtainedAt: now)
        }
        let reader = OAuthReader(url: source, clientID: "", now: now)
        switch reader.tokens(document: Data(text.utf8)) {
        case .content(let tokens): return tokens
        case .unusable(.invalidToken(let problem)): throw .invalidToken(problem: problem)
        case .error(let error, _, _, _):
            throw .tokenFile(path: source, problem: "it is the error \(quoted(error, limit: 60)) and no token response")
        default: throw .tokenFile(path: source, problem: "it is no token response with an \"access_token\"")
        }
    }

    /// The same from a file, which nobody but its owner may read.
    public static func read(file path: String, now: Date) throws(LoginError) -> TokenSet {
        guard let bytes = try SecretFile(path: path).read(owners: [geteuid()]) else {
            throw .tokenFile(path: path, problem: "there is no such file")
        }
        return try parse(Data(bytes), from: path, now: now)
    }
}
