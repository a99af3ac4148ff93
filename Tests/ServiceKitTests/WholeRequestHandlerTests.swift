import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOHTTPTypes
import Synchronization
import Testing

@testable import ServiceKit

@Suite("Whole request handler")
struct WholeRequestHandlerTests {
    private static let idleTimeout = TimeAmount.hours(2)

    private let channel: EmbeddedChannel
    private let service = Service()
    private let reads = ReadCounter()
    private let running = RunningRequest()

    init() throws {
        let channel = EmbeddedChannel()
        self.channel = channel
        let handler = WholeRequestHandler(
            on: channel, executor: InlineExecutor(), idleTimeout: Self.idleTimeout, running: running,
            respond: service.respond)
        try channel.pipeline.syncOperations.addHandlers([reads, handler])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    private func receive(_ parts: HTTPRequestPart...) throws {
        for part in parts { try channel.writeInbound(part) }
    }

    private func head(_ path: String, _ fields: HTTPFields = [:]) -> HTTPRequestPart {
        .head(HTTPRequest(method: .post, scheme: "http", authority: "test", path: path, headerFields: fields))
    }

    private func body(_ text: String) -> HTTPRequestPart { .body(ByteBuffer(string: text)) }

    /// Answers the oldest request that is being answered.
    private func answer(_ text: String) throws {
        try #require(service.answer(Response(status: .ok, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))))
        channel.embeddedEventLoop.run()
    }

    /// What was sent: the status and the body of each answer.
    private func sent() throws -> [String] {
        var sent: [String] = []
        while let part = try channel.readOutbound(as: HTTPResponsePart.self) {
            switch part {
            case .head(let head): sent.append("\(head.status.code)")
            case .body(let body): sent[sent.count - 1] += " \(String(buffer: body))"
            case .end: sent[sent.count - 1] += "."
            }
        }
        return sent
    }

    @Test("a request is handed on when it is whole, and once")
    func whole() throws {
        try receive(head("/a"), body("on"), body("e"))
        #expect(service.requests == [])
        try receive(.end(nil))
        #expect(service.requests == ["/a one"])
        #expect(try sent() == [])
        try answer("1")
        #expect(try sent() == ["200 1."])
        #expect(channel.isActive)
    }

    @Test("a request without a body is one, and so is an answer without")
    func empty() throws {
        try receive(head("/a"), .end(nil))
        #expect(service.requests == ["/a "])
        try answer("")
        #expect(try sent() == ["200."])
    }

    @Test("an answer that is made in pieces is sent in one")
    func pieces() throws {
        try receive(head("/a"), .end(nil))
        let body = ResponseBody(contentsOf: ["a", "b", "c"].map { ByteBuffer(string: $0) })
        try #require(service.answer(Response(status: .created, body: body)))
        channel.embeddedEventLoop.run()
        #expect(try sent() == ["201 abc."])
    }

    @Test("an answer whose body fails is none, and the connection ends")
    func failingBody() throws {
        try receive(head("/a"), .end(nil))
        let body = ResponseBody { _ in throw CancellationError() }
        try #require(service.answer(Response(status: .ok, body: body)))
        channel.embeddedEventLoop.run()
        #expect(try sent() == [])
        #expect(!channel.isActive)
    }

    @Test("requests sent together are answered one after the other, in their order")
    func pipelined() throws {
        try receive(head("/a"), body("1"), .end(nil), head("/b"), body("2"), .end(nil), head("/c"), body("3"))
        #expect(service.requests == ["/a 1"])
        try answer("first")
        #expect(service.requests == ["/a 1", "/b 2"])
        #expect(try sent() == ["200 first."])
        try answer("second")
        #expect(service.requests == ["/a 1", "/b 2"])
        try receive(.end(nil))
        #expect(service.requests == ["/a 1", "/b 2", "/c 3"])
        try answer("third")
        #expect(try sent() == ["200 second.", "200 third."])
    }

    @Test("once something has come behind a request that is being answered, nothing more is read from the socket")
    func heldReads() throws {
        channel.read()
        try receive(head("/a"), .end(nil))
        channel.read()
        #expect(reads.count == 2)
        try receive(head("/b"), .end(nil))
        channel.read()
        channel.read()
        #expect(reads.count == 2)
        try answer("1")
        channel.read()
        #expect(reads.count == 3)
        try receive(head("/c"))
        channel.read()
        #expect(reads.count == 3)
        try answer("2")
        #expect(reads.count == 4)
    }

    @Test(
        "a body that says it is too large is refused at once, its rest is forgotten, and the next request is answered")
    func declaredTooLarge() throws {
        let length = String(Request.maximumBodyBytes + 1)
        try receive(head("/a", [.contentLength: length]))
        #expect(service.requests == ["/a too large"])
        try receive(body("1"), body("2"))
        try answer("no")
        try receive(body("3"), .end(nil), head("/b"), body("4"), .end(nil))
        #expect(service.requests == ["/a too large", "/b 4"])
        try answer("yes")
        #expect(try sent() == ["200 no.", "200 yes."])
    }

    @Test("a body that turns out too large is refused without it, and its rest is forgotten")
    func tooLarge() throws {
        let most = String(repeating: "x", count: Request.maximumBodyBytes)
        try receive(head("/a"), body(most))
        #expect(service.requests == [])
        try receive(body("y"))
        #expect(service.requests == ["/a too large"])
        try receive(body("z"), .end(nil), head("/b"), .end(nil))
        try answer("no")
        #expect(service.requests.count == 2)
        try answer("yes")
        #expect(try sent() == ["200 no.", "200 yes."])
    }

    @Test("what is no HTTP is refused after the answer that is under way, and ends the connection")
    func broken() throws {
        try receive(head("/a"), .end(nil))
        channel.pipeline.fireErrorCaught(HTTPParserError.invalidConstant)
        #expect(try sent() == [])
        try answer("1")
        let sent = try sent()
        #expect(sent.count == 2 && sent[0] == "200 1.")
        #expect(sent[1].hasPrefix("400 {") && sent[1].contains("not well-formed HTTP"))
        #expect(!channel.isActive)
    }

    @Test("what is no HTTP is refused once, in the middle of a request too")
    func brokenRequest() throws {
        try receive(head("/a"), body("1"))
        channel.pipeline.fireErrorCaught(HTTPParserError.invalidConstant)
        channel.pipeline.fireErrorCaught(HTTPParserError.invalidConstant)
        let sent = try sent()
        #expect(sent.count == 1 && sent[0].hasPrefix("400 {"))
        #expect(service.requests == [])
        #expect(!channel.isActive)
    }

    @Test("the connection ends after the answer to a request that says so, and nothing behind it is done")
    func close() throws {
        try receive(head("/a", [.connection: "close"]), .end(nil), head("/b"), .end(nil))
        try answer("1")
        #expect(try sent() == ["200 1."])
        #expect(service.requests == ["/a "])
        #expect(!channel.isActive)
    }

    @Test(
        "behind a request for another protocol nothing can be read, so the connection ends with its answer, which says so",
        arguments: ["upgrade", "keep-alive, Upgrade", "Close", "x ,close"])
    func lastOfItsConnection(_ connection: String) throws {
        try receive(head("/a", [.connection: connection, .upgrade: "h2c"]), .end(nil))
        try answer("1")
        guard case .head(let head)? = try channel.readOutbound(as: HTTPResponsePart.self) else {
            Issue.record("there is no answer")
            return
        }
        #expect(head.headerFields[.connection] == "close")
        #expect(!channel.isActive)
    }

    @Test("a connection stays open when its client names other options, or wishes for a protocol without insisting")
    func notLast() throws {
        try receive(head("/a", [.connection: "keep-alive, closed", .upgrade: "h2c"]), .end(nil))
        try answer("1")
        try receive(head("/b"), .end(nil))
        try answer("2")
        #expect(try sent() == ["200 1.", "200 2."])
        #expect(channel.isActive)
    }

    @Test("the connection ends after an answer that says so, as one to a body that is too large does")
    func closedByAnswer() throws {
        try receive(head("/a", [.contentLength: String(Request.maximumBodyBytes + 1)]), body("1"))
        try #require(service.answer(Response(status: .contentTooLarge, headers: [.connection: "close"])))
        channel.embeddedEventLoop.run()
        #expect(try sent() == ["413."])
        #expect(!channel.isActive)
    }

    @Test("a client that says that it sends nothing more still gets its answers, and then the connection ends")
    func halfClosed() throws {
        try receive(head("/a"), .end(nil), head("/b"), .end(nil))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        try answer("1")
        #expect(channel.isActive)
        try answer("2")
        #expect(try sent() == ["200 1.", "200 2."])
        #expect(!channel.isActive)
    }

    @Test("the largest body of a batch is that of a batch, however its address is written")
    func batch() throws {
        let text = String(repeating: "x", count: Request.maximumBodyBytes + 1)
        try receive(head("/internal/batch?x", [.contentLength: String(text.utf8.count)]), body(text), .end(nil))
        #expect(service.requests == ["/internal/batch \(text)"])
    }

    @Test("a client that does not take its answers gets no more of them made")
    func slowClient() throws {
        try receive(head("/a"), .end(nil), head("/b"), .end(nil), head("/c"), .end(nil))
        channel.isWritable = false
        try answer("1")
        channel.read()
        #expect(service.requests == ["/a "])
        #expect(reads.count == 0)
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        #expect(service.requests == ["/a ", "/b "])
        try answer("2")
        try answer("3")
        #expect(try sent() == ["200 1.", "200 2.", "200 3."])
        #expect(reads.count == 1)
    }

    @Test("a client that takes nothing of its answers loses its connection after a while (hazard 62)")
    func clientThatTakesNothing() throws {
        try receive(head("/a"), .end(nil), head("/b"), .end(nil))
        channel.isWritable = false
        try answer("1")
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: WholeRequestHandler.lingering - .seconds(1))
        #expect(channel.isActive)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
        #expect(service.requests == ["/a "])
    }

    @Test("a client that takes its answer at last keeps its connection")
    func clientThatIsSlow() throws {
        try receive(head("/a"), .end(nil))
        channel.isWritable = false
        try answer("1")
        channel.embeddedEventLoop.advanceTime(by: WholeRequestHandler.lingering - .seconds(1))
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: .seconds(3600))
        #expect(channel.isActive)
    }

    @Test("a client that sends without end behind a request loses its connection")
    func flood() throws {
        try receive(head("/a"), .end(nil))
        for _ in 0..<WholeRequestHandler.maximumWaiting / 2 { try receive(head("/b"), .end(nil)) }
        #expect(channel.isActive)
        try? receive(head("/b"))
        #expect(!channel.isActive)
        #expect(service.requests == ["/a "])
    }

    @Test("a request that was refused as too large gets no second answer when its rest is no HTTP")
    func brokenRest() throws {
        try receive(head("/a", [.contentLength: String(Request.maximumBodyBytes + 1)]))
        try answer("no")
        channel.pipeline.fireErrorCaught(HTTPParserError.invalidEOFState)
        #expect(try sent() == ["200 no."])
        #expect(!channel.isActive)
    }

    @Test("who waits for the connection's requests waits for one whose client is gone")
    func runningRequest() async throws {
        try receive(head("/a"), .end(nil))
        channel.close(promise: nil)
        channel.embeddedEventLoop.run()
        let hasEnded = Mutex(false)
        let running = running
        let waiter = Task {
            await running.end()
            hasEnded.withLock { $0 = true }
        }
        for _ in 0..<1000 { await Task.yield() }
        #expect(hasEnded.withLock { !$0 })
        #expect(service.answer(Response(status: .ok)))
        await waiter.value
        #expect(hasEnded.withLock { $0 })
    }

    @Test("an idle connection ends when its client sends nothing more")
    func idle() throws {
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(!channel.isActive)
    }

    @Test("a connection ends when it has been idle for long enough, and not while a request is being answered")
    func idleTimeout() throws {
        let loop = channel.embeddedEventLoop
        loop.advanceTime(by: Self.idleTimeout - .seconds(10))
        try receive(head("/a"), .end(nil))
        loop.advanceTime(by: Self.idleTimeout * 2)
        #expect(channel.isActive)
        try answer("1")
        loop.advanceTime(by: Self.idleTimeout - .seconds(1))
        #expect(channel.isActive)
        loop.advanceTime(by: .seconds(1))
        #expect(!channel.isActive)
    }

    // MARK: - A service that stops

    private func stop() { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }

    @Test("when the service stops, an idle connection ends at once")
    func stopIdle() throws {
        stop()
        #expect(!channel.isActive)
    }

    @Test(
        "when the service stops, a request that has begun is answered, its client told that it is the last, and its connection ends"
    )
    func stopBusy() throws {
        try receive(head("/a"))
        stop()
        try receive(.end(nil), head("/b"), .end(nil))
        try #require(service.answer(Response(status: .ok)))
        channel.embeddedEventLoop.run()
        guard case .head(let head)? = try channel.readOutbound(as: HTTPResponsePart.self) else {
            Issue.record("there is no answer")
            return
        }
        #expect(head.headerFields[.connection] == "close")
        #expect(service.requests == ["/a "])
        #expect(!channel.isActive)
    }

    @Test(
        "when the service stops, it waits no more for clients that were told that the connection ends, nor for the rest of what was refused"
    )
    func stopLingering() throws {
        let slow = SlowSocket()
        try channel.pipeline.syncOperations.addHandler(slow, position: .first)
        channel.embeddedEventLoop.run()
        try receive(head("/a", [.contentLength: String(Request.maximumBodyBytes + 1)]))
        channel.isWritable = false
        try answer("no")
        stop()
        #expect(channel.isActive)
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        slow.sendsAll()
        #expect(!channel.isActive)
    }

    @Test("when the service stops, an answer that its client has not taken yet is not cut (OP-07)")
    func stopSending() throws {
        let slow = SlowSocket()
        try channel.pipeline.syncOperations.addHandler(slow, position: .first)
        try receive(head("/a"), .end(nil))
        try answer("1")
        stop()
        #expect(channel.isActive)
        slow.sendsAll()
        #expect(!channel.isActive)
    }

    @Test("a connection that is lost while a request is being answered costs nothing but the answer")
    func lost() throws {
        try receive(head("/a"), .end(nil), head("/b"), .end(nil))
        channel.close(promise: nil)
        channel.embeddedEventLoop.run()
        try answer("1")
        #expect(try sent() == [])
        #expect(service.requests == ["/a "])
    }

    @Test("an error of the connection ends it")
    func failed() throws {
        channel.pipeline.fireErrorCaught(IOError(errnoCode: 104, reason: "reset"))
        #expect(!channel.isActive)
    }
}

/// Takes what is written, and says only later that it is sent.
private final class SlowSocket: ChannelOutboundHandler {
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private var promises: [EventLoopPromise<Void>] = []

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if let promise { promises.append(promise) }
        context.write(data, promise: nil)
    }

    func sendsAll() {
        for promise in promises { promise.succeed() }
        promises = []
    }
}

/// Answers when the test says so.
private final class Service: Sendable {
    private struct State {
        var requests: [String] = []
        var waiting: [CheckedContinuation<Response, Never>] = []
    }

    private let state = Mutex(State())

    /// The paths and bodies of the requests that were handed on.
    var requests: [String] { state.withLock { $0.requests } }

    var respond: WholeRequestHandler.Responder {
        { [self] request, whole, _ in
            let body = whole.map(String.init(buffer:)) ?? "too large"
            return await withCheckedContinuation { continuation in
                state.withLock { state in
                    state.requests.append("\(request.uri.path) \(body)")
                    state.waiting.append(continuation)
                }
            }
        }
    }

    /// - Returns: false when no request waits.
    func answer(_ response: Response) -> Bool {
        let oldest = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
        oldest?.resume(returning: response)
        return oldest != nil
    }
}

/// Runs everything at once, where it is made ready.
private final class InlineExecutor: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
        UnownedJob(job).runSynchronously(on: asUnownedTaskExecutor())
    }
}

/// How often the socket is read.
private final class ReadCounter: ChannelOutboundHandler {
    typealias OutboundIn = HTTPResponsePart

    private(set) var count = 0

    func read(context: ChannelHandlerContext) {
        count += 1
        context.read()
    }
}
