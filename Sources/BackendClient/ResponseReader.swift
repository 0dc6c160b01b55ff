import AgentModel
import Foundation

/// Takes a document out of an answer, or says what is wrong with it.
struct ResponseReader {
    let response: HTTPResponse
    var now: Date = .now

    /// The content of the envelope.
    /// - Parameters:
    ///   - document: what it is, for the error: `agent`, `plugin`, `tasks`.
    ///   - body: to read instead of the response's.
    func content<Content: Decodable>(
        of document: String, in body: Data? = nil, as type: Content.Type = Content.self
    ) throws(BackendError) -> Content {
        do {
            return try JSONDecoder().decode(Envelope<Content>.self, from: body ?? response.body).data
        } catch let error as DecodingError {
            throw refusal(of: error, document: document)
        } catch {
            throw .invalidJSON(url: url, bytes: response.body.count, problem: quoted("\(error)"))
        }
    }

    /// Checks that the body is JSON of whatever shape.
    ///
    /// An empty body passes: part 1 of the contract calls a status of 200 or 201 the whole receipt.
    func checkReceipt() throws(BackendError) {
        guard !response.body.allSatisfy({ $0 == 0x20 || (0x09...0x0D).contains($0) }) else { return }
        do {
            _ = try JSONDecoder().decode(AnyContent.self, from: response.body)
        } catch let error as DecodingError {
            throw refusal(of: error, document: "receipt")
        } catch {
            throw .invalidJSON(url: url, bytes: response.body.count, problem: quoted("\(error)"))
        }
    }

    /// The error that a status outside the contract amounts to.
    var unexpectedStatus: BackendError {
        if response.status == 401 || response.status == 403 {
            return .unauthorized(url: url, status: response.status)
        }
        return .status(
            url: url, status: response.status, excerpt: excerpt,
            retryAfter: response.header("Retry-After").flatMap { RetryAfter.duration($0, now: now) })
    }

    /// The entity tag, if it can be sent back as it is.
    var etag: String? {
        response.header("ETag").flatMap { HTTPHeader(name: "If-None-Match", value: $0).problem == nil ? $0 : nil }
    }

    private var url: String { response.url.text }

    private var excerpt: String {
        let text = response.sentSecrets.excerpt(of: response.body, limit: 1000)
        return text.isEmpty ? "the body is empty" : quoted(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    private func refusal(of error: DecodingError, document: String) -> BackendError {
        switch error {
        case .dataCorrupted(let context) where context.codingPath.isEmpty: return notDecodable(context)
        case .keyNotFound(let key, let context) where context.codingPath.isEmpty && key.stringValue == "data":
            return .missingData(url: url)
        case .typeMismatch(_, let context) where context.codingPath.isEmpty: return .missingData(url: url)
        case .valueNotFound(_, let context) where context.codingPath.count <= 1: return .missingData(url: url)
        default:
            return .invalidDocument(
                .invalidField(
                    document: document, path: response.hidingSecrets(error.path),
                    problem: response.hidingSecrets(error.sentence)))
        }
    }

    private func notDecodable(_ context: DecodingError.Context) -> BackendError {
        let contentType = response.header("Content-Type").map(response.hidingSecrets) ?? "no content type"
        let first = response.body.first { !($0 == 0x20 || (0x09...0x0D).contains($0)) }
        // The type alone doesn't say it: there are backends that send JSON as text/html.
        let beginsLikeJSON = first.map { "{[\"-0123456789tfn".utf8.contains($0) } ?? true
        if !beginsLikeJSON || contentType.lowercased().hasPrefix("text/html") {
            return .notJSON(url: url, status: response.status, contentType: contentType, excerpt: excerpt)
        }
        if response.body.isEmpty { return .invalidJSON(url: url, bytes: 0, problem: "it is empty") }
        let reason = (context.underlyingError as NSError?)?.userInfo["NSDebugDescription"] as? String
        return .invalidJSON(
            url: url, bytes: response.body.count,
            problem: quoted(response.hidingSecrets(reason ?? context.debugDescription)))
    }
}

/// JSON of any shape, not kept.
private struct AnyContent: Decodable {
    init(from decoder: any Decoder) throws {}
}

extension DecodingError {
    /// Where it went wrong, dotted: `data.commands`.
    fileprivate var path: String {
        let codingPath =
            switch self {
            case .keyNotFound(let key, let context): context.codingPath + [key]
            case .valueNotFound(_, let context), .typeMismatch(_, let context), .dataCorrupted(let context):
                context.codingPath
            @unknown default: [any CodingKey]()
            }
        return codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    }
}
