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
    /// - Parameter other: what the validator covers beside the body.
    static func makeConditional(
        _ data: some Encodable, covering other: (some Encodable)? = String?.none, for request: Request
    ) throws -> Response {
        let body = try encoded(Envelope(data: data))
        let covered = try other.map { try body + encoded($0) } ?? body
        let tag = "\"\(SHA512.hash(covered).hex.prefix(64))\""
        var response =
            matches(tag, request.headers[values: .ifNoneMatch])
            ? Response(status: .notModified) : response(body, status: .ok)
        response.headers[.eTag] = tag
        // What an agent gets depends on who it is, so that nobody in between may answer for us.
        response.headers[.cacheControl] = "private, no-cache"
        return response
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

    private static func matches(_ tag: String, _ fields: [String]) -> Bool {
        fields.flatMap { $0.split(separator: ",") }.contains { candidate in
            let candidate = candidate.trimmingPrefix(while: \.isWhitespace).prefix { !$0.isWhitespace }
            return candidate == "*" || candidate == tag || candidate == "W/" + tag
        }
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
