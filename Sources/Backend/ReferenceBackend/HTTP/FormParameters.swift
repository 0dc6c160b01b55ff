import AgentModel
import Diagnostics
import Foundation
import Hummingbird

/// The parameters of a form (WHATWG URL, section 5.1): each at most once, and those without a value left out, as
/// RFC 6749 has it in section 3.2.
struct FormParameters {
    /// Why a body is no such form. Names parameters, and never their values.
    struct Problem: Error {
        var text: String
    }

    /// In bytes. Codes and tokens are short.
    static let limit = 64 << 10

    private let values: [String: String]

    /// - Throws: `Problem`, `ReferenceBackendError.tooLarge`.
    init(_ request: Request) async throws {
        let type = request.headers[.contentType]?.split(separator: ";").first?.trimmingCharacters(in: .whitespaces)
        guard type?.lowercased() == "application/x-www-form-urlencoded" else {
            throw Problem(text: "the body must be application/x-www-form-urlencoded")
        }
        let body = try await request.bodyData(limit: Self.limit)
        guard let text = String(data: body, encoding: .utf8) else { throw Problem(text: "the body is not UTF-8") }
        try self.init(text)
    }

    init(_ text: String) throws(Problem) {
        var values: [String: String] = [:]
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try Self.decoded(parts[0])
            let value = parts.count == 2 ? try Self.decoded(parts[1]) : ""
            guard values.updateValue(value, forKey: name) == nil else {
                throw Problem(text: "the parameter \(quoted(name, limit: 40)) is there twice")
            }
        }
        self.values = values
    }

    /// Nil where it is missing or empty.
    subscript(name: String) -> String? { values[name].flatMap { $0.isEmpty ? nil : $0 } }

    private static func decoded(_ text: Substring) throws(Problem) -> String {
        guard let decoded = text.replacing("+", with: " ").removingPercentEncoding, !decoded.utf8.contains(0) else {
            throw Problem(text: "the body is not percent-encoded UTF-8")
        }
        return decoded
    }
}
