import Hummingbird
import Logging
import Synchronization

/// Finds out where a request comes from: the other end of the connection, or what a proxy that is trusted says of it.
struct ClientAddressMiddleware: RouterMiddleware {
    private let trustedProxies: [AddressRange]
    private let warning = OneWarning()

    init(trustedProxies: [AddressRange]) { self.trustedProxies = trustedProxies }

    func handle(
        _ request: Request, context: BackendRequestContext,
        next: (Request, BackendRequestContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        let fields = Self.fieldName.map { request.headers[values: $0] } ?? []
        context.clientAddress = Self.client(behind: context.peerAddress, forwardedFor: fields, trustedProxies)
        if !fields.isEmpty, context.clientAddress == context.peerAddress, warning.isFirst {
            context.logger.warning(
                """
                a proxy forwards requests and is not trusted, so that all clients behind it count as one; name it with \
                --trusted-proxy
                """, metadata: ["proxy": "\(context.peerAddress)"])
        }
        return try await next(request, context)
    }

    private static let fieldName = HTTPFields.Element.Name("X-Forwarded-For")

    /// The last address of the list that isn't a trusted proxy: each proxy adds whom it was connected with, and what
    /// stands in front of that anybody can have written.
    static func client(behind peer: String, forwardedFor fields: [String], _ trusted: [AddressRange]) -> String {
        var client = peer
        for entry in fields.flatMap({ $0.split(separator: ",") }).reversed() {
            guard trusted.contains(where: { $0.contains(client) }), let address = address(in: entry) else { break }
            client = address
        }
        return client
    }

    /// Some proxies add the port.
    private static func address(in entry: Substring) -> String? {
        let text = entry.trimmingPrefix(while: \.isWhitespace).prefix { !$0.isWhitespace }
        var candidates = [text]
        if text.hasPrefix("["), let end = text.lastIndex(of: "]") {
            candidates.append(text[text.index(after: text.startIndex)..<end])
        } else if let colon = text.lastIndex(of: ":") {
            candidates.append(text[..<colon])
        }
        return candidates.map(String.init).first(where: AddressRange.isAddress)
    }

    private final class OneWarning: Sendable {
        private let isGiven = Atomic(false)
        var isFirst: Bool { !isGiven.exchange(true, ordering: .relaxed) }
    }
}
