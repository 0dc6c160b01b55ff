import AgentModel
import Diagnostics

/// HTTP/1.1 and HTTP/2 through the system's libcurl, on a thread of its own that keeps connections open.
///
/// One client serves the whole process. It is shut down with ``shutdown()``; one that is dropped ends by itself.
public final class HTTPClient: Sendable {
    public let configuration: Configuration
    private let loop: TransferLoop

    /// Starts the client's thread.
    /// - Throws: `HTTPClientError.unreadableFile` for a certificate or key that can't be read.
    public init(_ configuration: Configuration = Configuration()) throws(HTTPClientError) {
        try configuration.validate()
        self.configuration = configuration
        HiddenSecrets.add(configuration.proxies.secrets)
        loop = try TransferLoop(configuration)
    }

    deinit {
        loop.stop()
        loop.detach()
    }

    /// Sends a request and follows redirects; gives back the last answer whatever its status.
    ///
    /// Header fields that are marked secret go only to the origin of `request.url`. Cancelling the task gives the
    /// transfer up.
    public func send(_ request: HTTPRequest) async throws(HTTPClientError) -> HTTPResponse {
        let deadline = deadline(of: request)
        var chain = RedirectChain(request, configuration)
        while true {
            var response = try await transfer(chain.hop, deadline: deadline)
            response.sentSecrets = chain.secrets
            guard try chain.follow(response) else { return response }
        }
    }

    /// The same for a thread that may block: never on the cooperative pool, and with the GIL released.
    public func sendAndWait(_ request: HTTPRequest) throws(HTTPClientError) -> HTTPResponse {
        let deadline = deadline(of: request)
        var chain = RedirectChain(request, configuration)
        while true {
            var response = try transferAndWait(chain.hop, deadline: deadline)
            response.sentSecrets = chain.secrets
            guard try chain.follow(response) else { return response }
        }
    }

    /// Gives up the transfers under way, which fail with `http.shut_down`, and returns when the thread has ended.
    public func shutdown() async {
        loop.stop()
        await loop.waitUntilStopped()
    }

    /// The same for a thread that may block.
    public func shutdownAndWait() {
        loop.stop()
        loop.join()
    }

    private func deadline(of request: HTTPRequest) -> ContinuousClock.Instant {
        .now + (request.timeLimit ?? configuration.timeLimit)
    }

    private func transfer(
        _ request: HTTPRequest, deadline: ContinuousClock.Instant
    ) async throws(HTTPClientError) -> HTTPResponse {
        let id = loop.nextID()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.submit(
                    TransferLoop.Job(id: id, request: request, deadline: deadline) {
                        continuation.resume(returning: $0)
                    })
                // A cancellation from before the submission found nothing to cancel.
                if Task.isCancelled { loop.cancel(id) }
            }
        } onCancel: {
            loop.cancel(id)
        }
        return try result.get()
    }

    private func transferAndWait(
        _ request: HTTPRequest, deadline: ContinuousClock.Instant
    ) throws(HTTPClientError) -> HTTPResponse {
        let answer = BlockingAnswer<HTTPResponse, HTTPClientError>()
        loop.submit(
            TransferLoop.Job(id: loop.nextID(), request: request, deadline: deadline) { answer.set($0) })
        return try answer.wait().get()
    }
}
