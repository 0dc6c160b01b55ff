import Foundation
import Hummingbird

/// What a route knows of a request beside the request itself.
struct BackendRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The other end of the connection. Never taken from a header: anybody can write one.
    let peerAddress: String?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        peerAddress = source.channel.remoteAddress?.ipAddress
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
