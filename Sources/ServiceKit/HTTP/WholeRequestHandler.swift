import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOHTTPTypes
import Synchronization

/// Gathers the parts of a request, has it answered, and writes the answer: one request after the other.
///
/// A client may send more before it has its answer (pipelining). What came with the request, and the first that comes
/// after it, waits here, at most `maximumWaiting` parts; then nothing more is read from the socket until the client has
/// taken enough of the answer for the next request to have its turn.
final class WholeRequestHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// Answers a request, whatever becomes of it. - body: all of it, or nil if it was larger than it may be, and dropped.
    typealias Responder = @Sendable (Request, _ body: ByteBuffer?, any Channel) async -> Response

    private enum State {
        /// Between two requests.
        case idle
        /// The head was read, and some of the body.
        case reading
        /// A request is being answered. - isRead: whether it was read to its end; one that is too large is not.
        case answering(isRead: Bool)
        /// The answer was written, but the client is slow to take it.
        case sending(isRead: Bool)
        /// What is left of a request that was answered before its end is read and forgotten.
        case skipping
        /// No request is read any more; the connection ends when the client has taken what it was sent.
        case ended
    }

    /// The most parts of requests that may wait behind the one that is answered. Little comes together with a request, but a client that sends
    /// nothing more leaves all that it has sent at once.
    static let maximumWaiting = 10_000
    /// How long a client may take nothing of its answers, and how long a connection that is to end waits for its client.
    static let lingering = TimeAmount.seconds(75)

    private let channel: any Channel
    private let executor: any TaskExecutor
    private let idleTimeout: TimeAmount
    private let running: RunningRequest
    private let respond: Responder
    private var state = State.idle
    /// The request that is being read, and what has arrived of its body. Not in the state: each look at that would copy the one, and make
    /// each chunk copy the other.
    private var request: Request?
    private var body = ByteBuffer()
    private var maximumBodyBytes = 0
    private var waiting = CircularBuffer<HTTPRequestPart>()
    private var readIsHeld = false
    /// Whether the client sends nothing more.
    private var inputIsClosed = false
    /// What stands behind the request that is being answered is no HTTP.
    private var inputIsBroken = false
    /// Whether the service stops: what has begun is answered, and then the connection ends.
    private var isStopping = false
    /// Done when the last answer is with the system.
    private var lastWrite: EventLoopFuture<Void>?
    /// Since when the connection is between two requests, if it is.
    private var idleSince = NIODeadline.now()
    private var idleCheck: Scheduled<Void>?
    /// Runs while the client has to take what it was sent.
    private var patience: Scheduled<Void>?

    init(
        on channel: any Channel, executor: any TaskExecutor, idleTimeout: TimeAmount,
        running: RunningRequest = RunningRequest(), respond: @escaping Responder
    ) {
        self.channel = channel
        self.executor = executor
        self.idleTimeout = idleTimeout
        self.running = running
        self.respond = respond
    }

    func handlerAdded(context: ChannelHandlerContext) {
        idleSince = context.eventLoop.now
        checkWhetherIdle(context, at: idleSince + idleTimeout)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        state = .ended
        waiting.removeAll()
        idleCheck?.cancel()
        patience?.cancel()
    }

    /// One look per idle time-out, and not a timer for each request.
    private func checkWhetherIdle(_ context: ChannelHandlerContext, at deadline: NIODeadline) {
        let this = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        idleCheck = context.eventLoop.scheduleTask(deadline: deadline) {
            let (handler, context) = this.value
            let now = context.eventLoop.now
            guard case .idle = handler.state else {
                return handler.checkWhetherIdle(context, at: now + handler.idleTimeout)
            }
            let end = handler.idleSince + handler.idleTimeout
            if now < end { handler.checkWhetherIdle(context, at: end) } else { handler.end(context, lingers: false) }
        }
    }

    /// Whether a request is on its way through the service, or its answer through the connection.
    private var isBusy: Bool {
        switch state {
        case .answering, .sending: true
        case .idle, .reading, .skipping, .ended: false
        }
    }

    // MARK: - What arrives

    func read(context: ChannelHandlerContext) {
        // Only once there is something: to hold each read back would be to tell the system so, twice a request, and few clients send more
        // before they have their answer.
        if isBusy, !waiting.isEmpty { readIsHeld = true } else { context.read() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard isBusy else { return take(part, context) }
        waiting.append(part)
        if waiting.count > Self.maximumWaiting { context.close(promise: nil) }
    }

    private func take(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) {
        switch (state, part) {
        case (.idle, .head(let head)):
            let request = Request(head: head, body: RequestBody(buffer: ByteBuffer()))
            maximumBodyBytes = request.maximumBodyBytes
            self.request = request
            state = .reading
            let length = head.headerFields.only(.contentLength).flatMap { Int($0) } ?? 0
            if length > maximumBodyBytes { answer(nil, context) }
        case (.reading, .body(let bytes)):
            if body.readableBytes == 0 { body = bytes } else { body.writeImmutableBuffer(bytes) }
            if body.readableBytes > maximumBodyBytes { answer(nil, context) }
        case (.reading, .end): answer(body, context)
        case (.skipping, .end): state = .idle
        default: break
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed {
            inputIsClosed = true
            if !isBusy { end(context) }
        } else if event is ChannelShouldQuiesceEvent {
            isStopping = true
            switch state {
            case .idle, .skipping: end(context)
            case .ended: closeWhenSent(context)
            case .reading, .answering, .sending: break
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is IOError || error is ChannelError { return context.close(promise: nil) }
        if isBusy { inputIsBroken = true } else { refuse(context) }
    }

    // MARK: - Answers

    /// Has the request that was read answered. - Parameter whole: its body, or nil if that is too large; it is still to be read then, and
    /// forgotten.
    private func answer(_ whole: ByteBuffer?, _ context: ChannelHandlerContext) {
        guard let request = request.take() else { return }
        body = ByteBuffer()
        state = .answering(isRead: whole != nil)
        let isLast = request.isLast
        let loop = context.eventLoop
        let this = NIOLoopBound((handler: self, context: context), eventLoop: loop)
        let task = Task(executorPreference: executor) { [respond, channel] in
            let response = await respond(request, whole, channel)
            let parts = ResponseParts()
            let isWhole = (try? await response.body.write(parts)) != nil
            let body = isWhole ? parts.body : nil
            loop.execute { this.value.handler.write(response.head, body, isLast: isLast, this.value.context) }
        }
        running.set(task)
    }

    /// - Parameter body: nil if it could not be made. An answer without all its body is none: the client is to notice.
    private func write(_ head: HTTPResponse, _ body: ByteBuffer?, isLast: Bool, _ context: ChannelHandlerContext) {
        guard case .answering(let isRead) = state else { return }
        guard let body else { return context.close(promise: nil) }
        var head = head
        let isLast = isLast || isStopping || head.headerFields[.connection] == "close"
        if isLast { head.headerFields[.connection] = "close" }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if body.readableBytes > 0 { context.write(wrapOutboundOut(.body(body)), promise: nil) }
        if isLast {
            writeEnd(context)
            return end(context)
        }
        state = .sending(isRead: isRead)
        writeEnd(context)
        goOnWhenSent(context)
    }

    private func writeEnd(_ context: ChannelHandlerContext) {
        let written = context.eventLoop.makePromise(of: Void.self)
        lastWrite = written.futureResult
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        goOnWhenSent(context)
        context.fireChannelWritabilityChanged()
    }

    /// Takes the next request, once the answer to this one does not wait for a slow client any more: else one who reads nothing could have
    /// any number of answers kept for it.
    private func goOnWhenSent(_ context: ChannelHandlerContext) {
        guard case .sending(let isRead) = state else { return }
        guard context.channel.isWritable else {
            if patience == nil { closeUnlessTaken(context) }
            return
        }
        patience?.cancel()
        patience = nil
        state = isRead ? .idle : .skipping
        idleSince = context.eventLoop.now
        while let part = waiting.popFirst() {
            take(part, context)
            if isBusy { return }
        }
        if inputIsBroken { return refuse(context) }
        if inputIsClosed { return end(context) }
        if isStopping {
            switch state {
            case .idle, .skipping: return end(context)
            // What has begun to arrive is answered.
            case .reading, .answering, .sending, .ended: break
            }
        }
        guard readIsHeld else { return }
        readIsHeld = false
        context.read()
    }

    /// A client that takes nothing of what it was sent does not keep its connection for ever. One that takes it slowly does for as long as it
    /// takes some.
    private func closeUnlessTaken(_ context: ChannelHandlerContext) {
        let before = Self.unsent(context)
        let this = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        patience = context.eventLoop.scheduleTask(in: Self.lingering) {
            let (handler, context) = this.value
            let now = Self.unsent(context)
            if now > 0, now < before { handler.closeUnlessTaken(context) } else { context.close(promise: nil) }
        }
    }

    /// How many bytes wait for the client to take some.
    private static func unsent(_ context: ChannelHandlerContext) -> Int {
        (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// What arrived is no HTTP; nobody can tell where the next request would begin.
    private func refuse(_ context: ChannelHandlerContext) {
        switch state {
        case .idle, .reading:
            let problem = Problem(.badRequest, "The request is not well-formed HTTP.")
            for part in problem.finalParts(allocator: context.channel.allocator).dropLast() {
                context.write(wrapOutboundOut(part), promise: nil)
            }
            writeEnd(context)
            end(context)
        // That request has its answer.
        case .skipping: end(context)
        case .answering, .sending, .ended: break
        }
    }

    /// Ends the connection once the client has taken what it was sent: closed at once, it could lose that.
    ///
    /// - Parameter lingers: whether the client may be sending something still; closed before it stops, it could lose its answer by that.
    private func end(_ context: ChannelHandlerContext, lingers: Bool = true) {
        if case .ended = state { return }
        state = .ended
        request = nil
        body = ByteBuffer()
        waiting.removeAll()
        patience?.cancel()
        closeUnlessTaken(context)
        if lingers, !inputIsClosed, !isStopping {
            context.close(mode: .output, promise: nil)
        } else {
            closeWhenSent(context)
        }
        // What else the client sends is read and dropped, so that its end is noticed.
        if readIsHeld { context.read() }
    }

    /// With both directions closed nothing is kept, not even what is to be sent.
    private func closeWhenSent(_ context: ChannelHandlerContext) {
        let this = NIOLoopBound(context, eventLoop: context.eventLoop)
        let sent = lastWrite ?? context.eventLoop.makeSucceededVoidFuture()
        sent.whenComplete { _ in this.value.close(promise: nil) }
    }
}

extension Request {
    /// Whether nothing follows on the connection: the client says so; or the decoder reads nothing behind the request, because the
    /// client would speak another protocol next, and then whatever follows would be lost.
    fileprivate var isLast: Bool {
        if method == .connect { return true }
        for field in headers where field.name == .connection {
            let words = field.value.lowercased().split { $0 == "," || $0 == " " || $0 == "\t" }
            if words.contains(where: { $0 == "close" || $0 == "upgrade" }) { return true }
        }
        return false
    }
}

/// Takes an answer's body in one piece.
private final class ResponseParts: ResponseBodyWriter {
    private let written = Mutex(ByteBuffer())

    var body: ByteBuffer { written.withLock { $0 } }

    func write(_ buffer: ByteBuffer) async throws {
        written.withLock { written in
            if written.readableBytes == 0 { written = buffer } else { written.writeImmutableBuffer(buffer) }
        }
    }

    func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
