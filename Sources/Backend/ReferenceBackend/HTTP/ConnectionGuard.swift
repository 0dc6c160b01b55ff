import Hummingbird
import NIOCore
import NIOHTTPTypes

/// Keeps one connection to the limits of time, and its place in the ``ConnectionTable``.
///
/// It stands behind the decoder of HTTP: a head that is half there has not been seen here yet.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    // More than a dozen properties: what is known of one connection, all of it on its event loop.
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let limits: ServerLimits
    private let table: ConnectionTable
    /// What a body may have at most, whatever its route, in bytes.
    private let maximumBody: Int
    /// How often the times are looked at.
    private let period: TimeAmount

    private var requestsUnderWay = 0
    private var isReadingBody = false
    /// Whether the body of a request that was refused here is thrown away.
    private var isRefusing = false
    /// Whether the request said that it is the last: then Hummingbird reads no more of it once it is answered.
    private var isLastRequest = false
    /// Whether what is left of such a request is thrown away here: who sends it looks at the answer only then.
    private var isDraining = false
    /// When the server was asked to stop.
    private var stoppingSince: NIODeadline?
    private var isReadOutstanding = false
    private var writesOutstanding = 0
    private var bytesMoved = 0
    /// How long the other end has kept us waiting within this request and its answer, in nanoseconds.
    private var waited: Int64 = 0
    /// Since when there has been no request.
    private var idleSince = NIODeadline.now()
    private var hadRequest = false
    private var timer: Scheduled<Void>?

    init(limits: ServerLimits, table: ConnectionTable, maximumBody: Int) {
        self.limits = limits
        self.table = table
        self.maximumBody = maximumBody
        let shortest = min(limits.headTimeout, limits.idleTimeout, limits.bodyTimeout)
        period = .nanoseconds(Int64(min(1, shortest / 4) * 1e9))
    }

    func handlerAdded(context: ChannelHandlerContext) {
        table.open(context.channel)
        if context.channel.isActive { schedule(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        if timer == nil { schedule(context) }
        context.fireChannelActive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        table.close(context.channel)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        table.close(context.channel)
        context.fireChannelInactive()
    }

    func read(context: ChannelHandlerContext) {
        isReadOutstanding = true
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReadOutstanding = false
        context.fireChannelReadComplete()
        if isDraining { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { stoppingSince = .now() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch part {
        case .head(let request):
            begin(context)
            isLastRequest = request.headerFields[.connection] == "close"
            if table.isOverfull, request.path != "/healthz" {
                isRefusing = true
                return refuse(context)
            }
        case .body(let buffer):
            bytesMoved += buffer.readableBytes
            if isRefusing { return }
            if bytesMoved > maximumBody { return context.close(promise: nil) }
            if isDraining { return }
        case .end:
            isReadingBody = false
            if isRefusing { return }
            if isDraining { return context.close(promise: nil) }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part = unwrapOutboundIn(data)
        if case .body(let buffer) = part { bytesMoved += buffer.readableBytes }
        let written = promise ?? context.eventLoop.makePromise()
        writesOutstanding += 1
        let ends = if case .end = part { true } else { false }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        written.futureResult.whenComplete { _ in
            let (handler, context) = bound.value
            handler.writesOutstanding -= 1
            if ends { handler.finish(context) }
        }
        context.write(data, promise: written)
    }

    private func begin(_ context: ChannelHandlerContext) {
        requestsUnderWay += 1
        hadRequest = true
        isReadingBody = true
        bytesMoved = 0
        waited = 0
        table.setAtWork(true, context.channel)
    }

    private func finish(_ context: ChannelHandlerContext) {
        requestsUnderWay = max(0, requestsUnderWay - 1)
        guard requestsUnderWay == 0 else { return }
        idleSince = .now()
        guard context.channel.isActive else { return }
        table.setAtWork(false, context.channel)
        if isLastRequest, isReadingBody {
            isDraining = true
            context.read()
        }
    }

    /// The answer where all connections are at work: before anything is made of the request.
    private func refuse(_ context: ChannelHandlerContext) {
        var head = HTTPResponse(status: .serviceUnavailable)
        head.headerFields = [
            .contentType: "application/json", .contentLength: "\(Self.refusal.utf8.count)", .retryAfter: "1",
            .connection: "close",
        ]
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(ByteBuffer(string: Self.refusal))), promise: nil)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in bound.value.close(promise: nil) }
    }

    private static let refusal =
        #"{"error":{"code":"backend.busy","message":"the backend has as many connections as it may; try again in a moment"}}"#

    private func schedule(_ context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: period) {
            let (handler, context) = bound.value
            handler.look(context)
        }
    }

    private func look(_ context: ChannelHandlerContext) {
        // Only what the other end owes us counts: while we don't read, it is we who are slow.
        if isReadingBody && isReadOutstanding || writesOutstanding > 0 { waited += period.nanoseconds }
        var isTooSlow: Bool
        if requestsUnderWay == 0, isReadingBody {
            // Answered before it was whole. Nothing comes of the rest, however fast.
            isTooSlow = seconds((NIODeadline.now() - idleSince).nanoseconds) > limits.bodyTimeout
        } else if requestsUnderWay > 0 {
            isTooSlow = seconds(waited) > limits.bodyTimeout + Double(bytesMoved / max(1, limits.minimumRate))
        } else {
            let idle = seconds((NIODeadline.now() - idleSince).nanoseconds)
            isTooSlow = idle > (hadRequest ? limits.idleTimeout : limits.headTimeout)
        }
        if let stoppingSince, isReadingBody || writesOutstanding > 0 {
            // The end of the server doesn't wait for long for the other end.
            isTooSlow = isTooSlow || seconds((NIODeadline.now() - stoppingSince).nanoseconds) > Self.stopTimeout
        }
        if isTooSlow {
            context.close(promise: nil)
        } else {
            schedule(context)
        }
    }

    /// How long a body or an answer that is under way may take when the server stops, in seconds.
    private static let stopTimeout: Double = 5

    private func seconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }
}

@available(*, unavailable)
extension ConnectionGuard: Sendable {}
