import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Answers 408 and closes a connection on which a request has begun to arrive and is not complete in time (HT-16,
/// hazard 62).
///
/// A request that arrives whole in one read never starts the timer. Between requests a connection may be idle for longer;
/// `WholeRequestHandler` ends it then.
final class RequestReadDeadlineHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// So many bytes may arrive without being part of a request: of a head, which has a limit of its own, a little more than that. Blanks
    /// before a header's value have none, nor what follows when the client would speak another protocol.
    static let maximumUnread = 256 * 1024

    private let limit: TimeAmount
    /// How many bytes have arrived since the last part of a request.
    private var unread = 0
    /// The head of the request that is open.
    private var head: HTTPRequest?
    /// Whether a request has begun to arrive and is not complete.
    private var requestIsOpen = false
    /// Whether the request that is open has an answer already: one that is too large gets it before its end.
    private var requestIsAnswered = false
    /// How many requests have arrived and are not answered. While there is one, what is behind it is not read, and its time does not run.
    private var unanswered = 0
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?

    init(limit: TimeAmount) {
        self.limit = limit
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        // A head that arrives in pieces is visible only before the HTTP decoder.
        let watcher = ByteArrivalHandler(owner: self)
        do {
            try context.pipeline.syncOperations.addHandler(watcher, position: .first)
        } catch {
            context.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unread = 0
        switch unwrapInboundIn(data) {
        case .head(let head):
            requestIsOpen = true
            self.head = head
        case .body: break
        case .end:
            requestIsOpen = false
            head = nil
            timer?.cancel()
            timer = nil
            if requestIsAnswered { requestIsAnswered = false } else { unanswered += 1 }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        // The answer to a request that is not all there.
        case .head: if unanswered == 0 { requestIsAnswered = true }
        case .body: break
        case .end:
            if unanswered > 0 {
                unanswered -= 1
                startTimer()
            }
        }
        context.write(data, promise: promise)
    }

    private func timeIsOver(_ context: ChannelHandlerContext) {
        if !requestIsAnswered {
            let problem = Problem(.requestTimeout, "The request did not arrive within the time allowed.")
            for part in problem.finalParts(to: head, allocator: context.channel.allocator) {
                context.write(wrapOutboundOut(part), promise: nil)
            }
            context.flush()
        }
        context.close(promise: nil)
    }

    fileprivate func bytesArrived(_ count: Int) {
        requestIsOpen = true
        unread += count
        if unread > Self.maximumUnread { context?.close(promise: nil) }
    }

    fileprivate func bytesDecoded() { startTimer() }

    private func startTimer() {
        guard requestIsOpen, unanswered == 0, timer == nil, let context else { return }
        timer = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(in: limit) { self.timeIsOver(context) }
    }
}

/// Tells a `RequestReadDeadlineHandler` about bytes before the decoder sees them.
private final class ByteArrivalHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let owner: RequestReadDeadlineHandler

    init(owner: RequestReadDeadlineHandler) {
        self.owner = owner
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        owner.bytesArrived(unwrapInboundIn(data).readableBytes)
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        owner.bytesDecoded()
    }
}
