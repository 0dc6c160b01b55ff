import Foundation
import Hummingbird
import Logging

/// What a route knows of a request beside the request itself.
struct BackendRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The other end of the connection.
    let peerAddress: String
    /// Where the request comes from: the other end, or whom a trusted proxy there speaks for.
    var clientAddress: String

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        peerAddress = source.channel.remoteAddress?.ipAddress ?? "unknown"
        clientAddress = peerAddress
    }

    /// A part of the path, with percent-encoding (RFC 3986, section 2.1) undone.
    func pathParameter(_ name: String) throws -> String {
        let raw = try parameters.require(name)
        guard let text = raw.removingPercentEncoding, !text.utf8.contains(0) else {
            throw ReferenceBackendError.notFound(.route, id: raw)
        }
        return text
    }
}
