import AgentModel
import Diagnostics
import Foundation

/// Takes a document out of an answer, or says what is wrong with it.
struct ResponseReader {
    let response: HTTPResponse
    var now: Date = .now

    /// The content of the envelope.
    /// - Parameters:
    ///   - document: what it is, for the error: `agent`, `plugin`, `tasks`.
    ///   - selection: what of it is read.
    func content<Content: Decodable>(
        of document: String, selecting selection: JSONSelection, as type: Content.Type = Content.self
    ) throws(BackendError) -> Content {
        try self.document(document, selecting: selection, as: Envelope<Content>.self).data
    }

    /// The whole body, envelope included.
    /// - Parameters: as of ``content(of:selecting:as:)``.
    func document<Content: Decodable>(
        _ document: String, selecting selection: JSONSelection, as type: Content.Type = Content.self
    ) throws(BackendError) -> Content {
        let selected: SelectedJSON
        do throws(JSONSelectionError) {
            selected = try selection.select(from: response.body)
        } catch {
            throw refusal(of: error, document: document)
        }
        do {
            return try selected.decode(Content.self)
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
        do throws(JSONSelectionError) {
            try JSONSelection.check(response.body)
        } catch {
            throw refusal(of: error, document: "receipt")
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

    private func refusal(of error: JSONSelectionError, document: String) -> BackendError {
        switch error {
        case .syntax: return notDecodable(error)
        case .tooMany(_, let limit):
            return switch document {
            case "tasks": .tooManyTasks(limit: limit)
            case "agent": .tooManyPlugins(limit: limit)
            default: .tooManyCommands(limit: limit)
            }
        }
    }

    private func refusal(of error: DecodingError, document: String) -> BackendError {
        switch error {
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

    private func notDecodable(_ error: JSONSelectionError) -> BackendError {
        let contentType = response.header("Content-Type").map(response.hidingSecrets) ?? "no content type"
        let first = response.body.first { !($0 == 0x20 || (0x09...0x0D).contains($0)) }
        // The type alone doesn't say it: there are backends that send JSON as text/html.
        let beginsLikeJSON = first.map { "{[\"-0123456789tfn".utf8.contains($0) } ?? true
        if !beginsLikeJSON || contentType.lowercased().hasPrefix("text/html") {
            return .notJSON(url: url, status: response.status, contentType: contentType, excerpt: excerpt)
        }
        if response.body.isEmpty { return .invalidJSON(url: url, bytes: 0, problem: "it is empty") }
        return .invalidJSON(
            url: url, bytes: response.body.count, problem: response.hidingSecrets(error.sentence))
    }
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
