import AgentModel
import Cryptography
import Foundation
import Hummingbird

/// Makes responses of values: JSON in the contract's envelope.
enum JSONReply {
    static func make(
        _ data: some Encodable, status: HTTPResponse.Status = .ok
    ) throws -> Response {
        response(try encoded(Envelope(data: data)), status: status)
    }

    /// A response with a strong validator, or `304` where the client has this very body already
    /// (RFC 9110, sections 8.8.3 and 13.1.2).
    static func makeConditional(_ data: some Encodable, for request: Request) throws -> Response {
        let body = try encoded(Envelope(data: data))
        let tag = "\"\(SHA512.hash(body).hex.prefix(64))\""
        let known = validators(in: request)
        let isKnown = known.contains("*") || known.contains(tag)
        return makePrivate(isKnown ? Response(status: .notModified) : response(body, status: .ok), tag: tag)
    }

    /// What an agent gets depends on who it is, so that nobody in between may answer for us.
    static func makePrivate(_ response: Response, tag: String) -> Response {
        var response = response
        response.headers[.eTag] = tag
        response.headers[.cacheControl] = "private, no-cache"
        return response
    }

    /// Those of `If-None-Match`, without the mark of a weak one: it is compared weakly (RFC 9110, section 13.1.2).
    static func validators(in request: Request) -> [String] {
        request.headers[values: .ifNoneMatch].flatMap { $0.split(separator: ",") }.map { candidate in
            let text = candidate.trimmingPrefix(while: \.isWhitespace).prefix { !$0.isWhitespace }
            return String(text.hasPrefix("W/") ? text.dropFirst(2) : text)
        }
    }

    /// A page of a list: the envelope, and beside `data` where the next page begins.
    static func make<Element: Encodable>(_ page: Page<Element>) throws -> Response {
        response(
            try encoded(PageEnvelope(data: page.elements, nextCursor: page.nextCursor.map(String.init))), status: .ok)
    }

    /// Compact JSON with sorted keys, so that the same value always gives the same bytes.
    static func encoded(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value)
    }

    static func response(_ body: Data, status: HTTPResponse.Status) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }
}

private struct PageEnvelope<Element: Encodable>: Encodable {
    var data: [Element]
    var nextCursor: String?

    private enum CodingKeys: String, CodingKey {
        case data
        case nextCursor = "next_cursor"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(data, forKey: .data)
        try container.encode(nextCursor, forKey: .nextCursor)
    }
}
