import Cryptography
import Hummingbird
import Logging

extension BackendRequestContext {
    /// Writes down what an administrator changed, and who it was as far as that is known: the beginning of the hash of the
    /// token or session that was shown, and the address.
    /// - Parameters:
    ///   - what: As a sentence without a subject: `deleted the agent "…"`.
    ///   - secret: The administration token, or the session of the page.
    func audit(_ what: String, by kind: AdministratorKind, secret: String?) {
        let mark = secret.map { OpaqueToken.hash($0).hex.prefix(8) } ?? "unknown"
        logger.notice(
            "an administrator \(what)",
            metadata: ["by": "\(kind.rawValue) \(mark)", "address": "\(clientAddress)"])
    }

    /// Writes down what was changed through the administration API.
    func audit(_ what: String, _ request: Request) { audit(what, by: .token, secret: request.bearerToken) }
}

/// By what an administrator was known.
enum AdministratorKind: String {
    case token = "administration token"
    case session = "session of the page"
}
